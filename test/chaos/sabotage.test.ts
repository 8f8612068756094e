import { describe, expect, it } from 'vitest';
import type { Problem } from './oracle/verdict.js';
import { lineOf, shownBy } from './sabotage.js';

const problem = (fault: string, counts: Problem['counts'] = {}): Problem => ({ fault, what: 'wrong', counts });

describe('a sabotage with counts', () => {
  const sabotage = { fault: 'kill -9', shows: ['lost', 'stuck'] } as const;

  it('is shown by one of its counts after one of its faults', () => {
    const shown = problem('kill -9 of updater', { stuck: 1 });
    expect(shownBy(sabotage, [problem('no fault'), shown])).toEqual([shown]);
  });

  it.each([
    ['no problem', []],
    ['another count', [problem('kill -9 of updater', { duplicated: 1, lost: 0 })]],
    ['a fault that did not end well', [problem('kill -9 of updater')]],
    ['the same count without its fault', [problem('no fault', { lost: 1 }), problem('', { lost: 1 })]],
  ])('is not shown by %s', (_, problems) => {
    expect(shownBy(sabotage, problems)).toEqual([]);
  });
});

describe('a sabotage without counts', () => {
  const sabotage = { fault: 'a full disk', shows: [] };

  it('is shown by a fault of its own that does not end well', () => {
    const shown = problem('a bundle is activated on a full disk');
    expect(shownBy(sabotage, [problem('', { lost: 1 }), shown])).toEqual([shown]);
  });

  it.each([
    ['no problem', []],
    ['a problem of another fault', [problem('Redis cannot write')]],
    ['a scenario that ends before its fault', [problem('no fault'), problem('')]],
  ])('is not shown by %s', (_, problems) => {
    expect(shownBy(sabotage, problems)).toEqual([]);
  });
});

it('names a problem by its fault, without the folder of its run', () => {
  const what = 'the folder /var/run/ckv-chaos-aB1/redis cannot be written';
  expect(lineOf({ fault: 'a full disk', what, counts: {} })).toBe(
    'a full disk: the folder DIR/redis cannot be written',
  );
});
