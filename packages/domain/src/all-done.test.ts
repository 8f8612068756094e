import { describe, expect, it } from 'vitest';
import { allDone } from './all-done.js';

describe('allDone', () => {
  it('returns the results in order', async () => {
    expect(await allDone([Promise.resolve(1), Promise.resolve(2)])).toEqual([1, 2]);
  });

  it('throws the first failure only after all work has settled', async () => {
    let finish: () => void = () => undefined;
    const slow = new Promise<void>((resolve) => {
      finish = resolve;
    });
    let thrown: unknown;
    const all = allDone([Promise.reject(new Error('first')), slow, Promise.reject(new Error('second'))]).catch(
      (error) => {
        thrown = error;
      },
    );
    await new Promise(setImmediate);
    expect(thrown).toBeUndefined();
    finish();
    await all;
    expect(thrown).toEqual(new Error('first'));
  });
});
