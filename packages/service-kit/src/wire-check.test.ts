import { describe, expect, it } from 'vitest';
import { fieldsOf, wireProblem } from './wire-check.js';

const fields = fieldsOf({
  field: [
    { name: 'user_id', number: 1, type: 'TYPE_STRING', label: 'LABEL_OPTIONAL' },
    { name: 'candidate_ids', number: 2, type: 'TYPE_STRING', label: 'LABEL_REPEATED' },
    { name: 'top_k', number: 7, type: 'TYPE_UINT32', label: 'LABEL_OPTIONAL' },
  ],
});
const id = (length: number) => [
  0x12,
  ...(length < 0x80 ? [length] : [(length & 0x7f) | 0x80, length >> 7]),
  ...Array(length).fill(97),
];
const problemOf = (...bytes: number[]) => wireProblem(Uint8Array.from(bytes), fields)?.field;

describe('wireProblem', () => {
  it('lets a message pass, long and empty ids and all', () => {
    expect(problemOf(0x0a, 1, 97, ...id(3), ...id(0), ...id(200), ...id(5), 0x38, 3)).toBeUndefined();
  });

  it('finds the first entry of many that is cut off, and what stands behind them', () => {
    const ids = [...id(3), ...id(4), ...id(5)];
    expect(problemOf(...ids.slice(0, -1))).toBe('candidate_ids');
    expect(problemOf(...ids, 0x12)).toBe('candidate_ids');
    expect(problemOf(...ids, 0x3a, 1, 1)).toBe('top_k');
    expect(problemOf(...ids, 0x38)).toBe('top_k');
  });
});
