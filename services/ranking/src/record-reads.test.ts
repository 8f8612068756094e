import { CkvError } from '@collectivekv/domain';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { reporting } from './record-reads.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it('logs why reads fail, once in ten seconds, and passes the failure on', async () => {
  const warn = vi.fn();
  const refused = new CkvError('dependency_unavailable', 'Redis refused', { cause: new Error('NOPERM') });
  const read = reporting(
    async () => {
      throw refused;
    },
    { warn },
  );
  const reads = async () => {
    for (let i = 0; i < 3; i++) await expect(read('b', 'u', 0)).rejects.toBe(refused);
  };
  await reads();
  expect(warn.mock.calls).toEqual([
    [{ reason: 'dependency_unavailable', problem: 'Redis refused: NOPERM' }, 'a record cannot be read'],
  ]);
  vi.advanceTimersByTime(10_000);
  await reads();
  expect(warn).toHaveBeenCalledTimes(2);
});

it('has nothing to say of reads that succeed', async () => {
  const warn = vi.fn();
  const bytes = Uint8Array.of(1);
  expect(await reporting(async () => bytes, { warn })('b', 'u', 0)).toBe(bytes);
  expect(warn).not.toHaveBeenCalled();
});
