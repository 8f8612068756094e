import { CkvError } from '@collectivekv/domain';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ReadRecord } from './read-record.js';
import { createRecordSource, type FetchedRecord, type RecordSource } from './record-source.js';

const START_MS = 1_000_000;
const TIMEOUT_MS = 250;

/** What the records hold, by encoding and user. */
let stored: Record<string, string>;
const read = vi.fn<ReadRecord>();

beforeEach(() => {
  vi.useFakeTimers({ now: START_MS });
  stored = { 'b:u': 'record of u' };
  read.mockReset();
  read.mockImplementation(async (encodingId, userId) => {
    const record = stored[`${encodingId}:${userId}`];
    return record === undefined ? undefined : Buffer.from(record);
  });
});
afterEach(() => {
  vi.useRealTimers();
});

const MAX_AGE_MS = 120_000;
const sourceOf = (nearCacheBytes: number) =>
  createRecordSource({ read, nearCacheBytes, nearCacheMaxAgeMs: MAX_AGE_MS, timeoutMs: TIMEOUT_MS });

const get = (source: RecordSource, maxStalenessMs: number, { encodingId = 'b', userId = 'u' } = {}) =>
  source.get({ encodingId, userId, maxStalenessMs, deadlineMs: Date.now() + 1_000 });

const textOf = ({ bytes }: FetchedRecord) => bytes && Buffer.from(bytes).toString();

describe('dropping copies', () => {
  it('drops those of one user, of every encoding, or all', async () => {
    const source = sourceOf(10_000);
    const fill = () =>
      Promise.all(
        ['b', 'c'].flatMap((encodingId) => ['u', 'v'].map((userId) => get(source, 60_000, { encodingId, userId }))),
      );
    await fill();
    await fill();
    expect(read).toHaveBeenCalledTimes(4);
    source.dropUser('u');
    read.mockClear();
    await fill();
    expect(read.mock.calls.map(([encodingId, userId]) => `${encodingId}:${userId}`)).toEqual(['b:u', 'c:u']);
    source.dropAll();
    read.mockClear();
    await fill();
    expect(read).toHaveBeenCalledTimes(4);
    source.close();
  });

  it('keeps no copy of a read that began before the drop', async () => {
    const source = sourceOf(10_000);
    let answer: (bytes: Uint8Array) => void = () => undefined;
    read.mockImplementationOnce(
      () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
    );
    const before = get(source, 60_000);
    source.dropUser('u');
    answer(Buffer.from('deleted'));
    expect(textOf(await before)).toBe('deleted');
    expect(textOf(await get(source, 60_000))).toBe('record of u');
    source.close();
  });
});

describe('the near cache', () => {
  it('gives a copy to callers who allow its age, and to no others', async () => {
    const source = sourceOf(10_000);
    await get(source, 60_000);
    expect(read).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(60_000);
    const copy = await get(source, 60_000);
    expect([textOf(copy), copy.ageMs]).toEqual(['record of u', 60_000]);
    expect(read).toHaveBeenCalledTimes(1);

    vi.advanceTimersByTime(1);
    expect(await get(source, 60_000)).toMatchObject({ ageMs: 0 });
    expect(read).toHaveBeenCalledTimes(2);
    await get(source, 0);
    expect(read).toHaveBeenCalledTimes(3);
  });

  it('keeps no copy until a caller allows one', async () => {
    const source = sourceOf(10_000);
    await get(source, 0);
    await get(source, 60_000);
    expect(read).toHaveBeenCalledTimes(2);
    await get(source, 60_000);
    expect(read).toHaveBeenCalledTimes(2);
  });

  it('gives no copy of a deleted user after its own longest age, whatever age the caller allows', async () => {
    const source = sourceOf(10_000);
    await get(source, 3_600_000);
    stored = {};
    vi.advanceTimersByTime(MAX_AGE_MS);
    expect(textOf(await get(source, 3_600_000))).toBe('record of u');
    vi.advanceTimersByTime(1);
    expect(textOf(await get(source, 3_600_000))).toBeUndefined();
  });

  it('has no copy in memory after twice its longest age', async () => {
    const source = sourceOf(10_000);
    vi.advanceTimersByTime(1); // the copy is younger than its age at the first look
    await get(source, 60_000);
    vi.advanceTimersByTime(2 * MAX_AGE_MS);
    await get(source, 0); // would renew a copy
    await get(source, 60_000);
    expect(read).toHaveBeenCalledTimes(3);
  });

  it('keeps copies of each encoding and each user apart', async () => {
    const source = sourceOf(10_000);
    stored = { 'b:u': 'of b', 'other:u': 'of other', 'b:u2': 'of u2' };
    const all = [{ encodingId: 'b' }, { encodingId: 'other' }, { userId: 'u2' }];
    for (let round = 0; round < 2; round++) {
      const found = [];
      for (const query of all) found.push(textOf(await get(source, 60_000, query)));
      expect(found).toEqual(['of b', 'of other', 'of u2']);
    }
    expect(read).toHaveBeenCalledTimes(3);
  });

  it('counts the age of a copy from the start of its read', async () => {
    const source = sourceOf(10_000);
    read.mockImplementationOnce(async () => {
      await vi.advanceTimersByTimeAsync(40);
      return Buffer.from('slow');
    });
    expect(await get(source, 60_000)).toMatchObject({ ageMs: 0 });
    expect(await get(source, 60_000)).toMatchObject({ ageMs: 40 });
    await get(source, 39);
    expect(read).toHaveBeenCalledTimes(2);
  });

  it('ages and drops copies although the clock of the machine was set back', async () => {
    const source = sourceOf(10_000);
    await get(source, 60_000);
    vi.setSystemTime(START_MS - 86_400_000);
    vi.advanceTimersByTime(40);
    expect(await get(source, 60_000)).toMatchObject({ ageMs: 40 });
    vi.advanceTimersByTime(2 * MAX_AGE_MS);
    await get(source, 0); // would renew a copy
    await get(source, 60_000);
    expect(read).toHaveBeenCalledTimes(3);
  });

  it('renews a copy by every read of its record', async () => {
    const source = sourceOf(10_000);
    await get(source, 60_000);
    stored = { 'b:u': 'newer' };
    await get(source, 0);
    expect(textOf(await get(source, 60_000))).toBe('newer');
    expect(read).toHaveBeenCalledTimes(2);
  });

  it('remembers that a user has no record', async () => {
    const source = sourceOf(10_000);
    await get(source, 60_000, { userId: 'cold' });
    expect((await get(source, 60_000, { userId: 'cold' })).bytes).toBeUndefined();
    expect(read).toHaveBeenCalledTimes(1);
  });

  it('drops the least recently used copy when it is full', async () => {
    const source = sourceOf(2 * (128 + 'b:u1'.length + 100));
    const userIds = ['u1', 'u2', 'u3'];
    stored = Object.fromEntries(userIds.map((userId) => [`b:${userId}`, '.'.repeat(100)]));
    for (const userId of ['u1', 'u2', 'u1', 'u3', 'u1', 'u3']) await get(source, 60_000, { userId });
    expect(read).toHaveBeenCalledTimes(3);
    await get(source, 60_000, { userId: 'u2' });
    expect(read).toHaveBeenCalledTimes(4);
  });

  it('keeps the bytes of the record alone, not the message around them', async () => {
    const source = sourceOf(10_000);
    const message = Buffer.alloc(1_000, 'x');
    read.mockResolvedValueOnce(message.subarray(10, 20));
    await get(source, 60_000);
    const copy = await get(source, 60_000);
    expect(copy.bytes?.buffer.byteLength).toBe(10);
  });

  it('keeps nothing with a size of 0', async () => {
    const source = sourceOf(0);
    await get(source, 60_000);
    await get(source, 60_000);
    expect(read).toHaveBeenCalledTimes(2);
  });

  it('keeps nothing of a read that failed', async () => {
    const source = sourceOf(10_000);
    read.mockRejectedValueOnce(new CkvError('dependency_unavailable', 'away'));
    await expect(get(source, 60_000)).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    expect(textOf(await get(source, 60_000))).toBe('record of u');
  });
});

describe('a read', () => {
  it.each([
    ['its own deadline, if that comes first', 100, 100],
    ['the longest wait, if that comes first', 10_000, TIMEOUT_MS],
    ['the longest wait, without a deadline', Number.POSITIVE_INFINITY, TIMEOUT_MS],
  ])('ends by %s', async (_, leftMs, wantedMs) => {
    const source = sourceOf(0);
    read.mockReturnValueOnce(new Promise(() => undefined));
    const settled = vi.fn();
    const reading = source
      .get({ encodingId: 'b', userId: 'u', maxStalenessMs: 0, deadlineMs: START_MS + leftMs })
      .catch(settled);
    expect(read).toHaveBeenCalledWith('b', 'u', START_MS + wantedMs);
    await vi.advanceTimersByTimeAsync(wantedMs - 1);
    expect(settled).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(settled).toHaveBeenCalledWith(expect.objectContaining({ reason: 'deadline' }));
    await reading;
  });

  it('leaves no timer behind', async () => {
    await get(sourceOf(0), 0);
    await vi.advanceTimersByTimeAsync(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});
