import { decodeRecord, EVENT_HASH_BYTES, encodeRecord, eventHash, RECENT_EVENT_RING } from '@collectivekv/domain';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Append, RecordShape, UserStore } from './user-store.js';

const shape: RecordShape = { encodingId: '0123456789abcdef', strideBytes: 2, maxPositions: 20 };

/** Rows [n, n] with the event id n. */
function append(userId: string, numbers: readonly number[], lastEventMs = 1_000): Append {
  return {
    userId,
    eventHashes: Buffer.concat(numbers.map((n) => eventHash(String(n)))),
    rows: Uint8Array.from(numbers.flatMap((n) => [n, n])),
    lastEventMs,
  };
}

/** A store under test. */
export interface StoreUnderTest {
  /** Returns an empty store. */
  readonly store: () => UserStore;
  /** Writes bytes past the store. */
  readonly plant: (userId: string, encodingId: string, bytes: Uint8Array) => Promise<void>;
  /** Returns the time by the store's own clock, Unix ms. */
  readonly nowMs: () => Promise<number>;
}

/** Tests the behaviour that every user store has. */
export function describeUserStore(name: string, { store, plant, nowMs }: StoreUnderTest): void {
  const read = async (userId: string) => {
    const [bytes] = await store().getRecords(shape.encodingId, [userId]);
    return bytes && decodeRecord(bytes, shape);
  };
  const numbersOf = async (userId: string) => [...((await read(userId))?.rows ?? [])].filter((_, i) => i % 2 === 0);

  describe(name, () => {
    it('returns records in the order of the users, undefined for a user without one', async () => {
      await store().appendPositions(shape, [append('b', [1])]);
      const [a, b, c] = await store().getRecords(shape.encodingId, ['a', 'b', 'c']);
      expect([a, c]).toEqual([undefined, undefined]);
      expect(b?.length).toBeGreaterThan(0);
    });

    it('appends in order and counts', async () => {
      expect(await store().appendPositions(shape, [append('u', [1, 2], 50)])).toEqual([
        { appliedCount: 2, duplicateCount: 0, positionCount: 2, unreadable: false },
      ]);
      await store().appendPositions(shape, [append('u', [3], 40)]);
      expect(await numbersOf('u')).toEqual([1, 2, 3]);
      expect(await read('u')).toMatchObject({ lifetimeCount: 3, lastEventMs: 50, positionCount: 3 });
    });

    it.each([255, 256, 513, 65_535])('keeps, trims and deletes rows of %i bytes', async (strideBytes) => {
      const wide = { ...shape, strideBytes, maxPositions: 3 };
      const wideAppend = (numbers: number[]): Append => {
        const rows = Buffer.concat(numbers.map((n) => Buffer.alloc(strideBytes, n)));
        return { ...append('u', numbers), rows };
      };
      await store().appendPositions(wide, [wideAppend([1, 2])]);
      const outcome = { appliedCount: 2, duplicateCount: 1, positionCount: 3, unreadable: false };
      expect(await store().appendPositions(wide, [wideAppend([2, 3, 4])])).toEqual([outcome]);
      await store().deletePosition(shape.encodingId, 'u', eventMatch('3'));
      const [bytes] = await store().getRecords(shape.encodingId, ['u']);
      const { rows } = decodeRecord(bytes ?? new Uint8Array(0), wide);
      expect(Buffer.from(rows).equals(wideAppend([2, 4]).rows)).toBe(true);
    });

    it('skips events that it has, and duplicates within one append', async () => {
      await store().appendPositions(shape, [append('u', [1, 2])]);
      expect(await store().appendPositions(shape, [append('u', [2, 3, 3, 4])])).toEqual([
        { appliedCount: 2, duplicateCount: 2, positionCount: 4, unreadable: false },
      ]);
      expect(await numbersOf('u')).toEqual([1, 2, 3, 4]);
      expect((await read('u'))?.lifetimeCount).toBe(4);
    });

    it('finds every event of a full append again when it is retried', async () => {
      const numbers = Array.from({ length: RECENT_EVENT_RING }, (_, i) => i + 1);
      await store().appendPositions(shape, [append('u', [100])]);
      await store().appendPositions(shape, [append('u', numbers)]);
      const [retried] = await store().appendPositions(shape, [append('u', numbers)]);
      expect(retried).toMatchObject({ appliedCount: 0, duplicateCount: RECENT_EVENT_RING });
      expect((await read('u'))?.positionCount).toBe(RECENT_EVENT_RING + 1);
    });

    it('trims the oldest rows at the bound and goes on counting', async () => {
      for (let n = 1; n <= 25; n++) await store().appendPositions(shape, [append('u', [n])]);
      expect(await numbersOf('u')).toEqual(Array.from({ length: 20 }, (_, i) => i + 6));
      expect((await read('u'))?.lifetimeCount).toBe(25);
    });

    it('appends to many users at once, each with its own outcome', async () => {
      const users = Array.from({ length: 300 }, (_, i) => `user ${i}`);
      const outcomes = await store().appendPositions(
        shape,
        users.map((user, i) => append(user, [i % 200])),
      );
      expect(outcomes.every((outcome) => outcome.appliedCount === 1)).toBe(true);
      expect(await numbersOf('user 123')).toEqual([123]);
    });

    it('applies concurrent appends of one user each exactly once', async () => {
      const numbers = Array.from({ length: 12 }, (_, i) => i + 1);
      await Promise.all([...numbers, ...numbers].map((n) => store().appendPositions(shape, [append('u', [n])])));
      expect((await numbersOf('u')).sort((a, b) => a - b)).toEqual(numbers);
    });

    it.each([
      ['rows of another length', { ...append('u', [1]), rows: new Uint8Array(3) }, 'appends[0].rows'],
      ['no rows', { ...append('u', []) }, 'appends[0].rows'],
      [
        'too many rows',
        append(
          'u',
          Array.from({ length: RECENT_EVENT_RING + 1 }, (_, i) => i),
        ),
        'appends[0].rows',
      ],
      ['too few hashes', { ...append('u', [1]), eventHashes: new Uint8Array(5) }, 'appends[0].event_hashes'],
      [
        'the hash of a deleted event',
        { ...append('u', [1, 2]), eventHashes: Uint8Array.of(1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 0x80) },
        'appends[0].event_hashes',
      ],
      ['too many hashes', { ...append('u', [1]), eventHashes: new Uint8Array(12) }, 'appends[0].event_hashes'],
    ])('refuses %s and names the field', async (_, bad, field) => {
      await expect(store().appendPositions(shape, [bad])).rejects.toMatchObject({ reason: 'invalid_request', field });
      expect(await read('u')).toBeUndefined();
    });

    it('names the malformed append of several, and appends nothing', async () => {
      const bad = { ...append('v', [1]), rows: new Uint8Array(3) };
      await expect(store().appendPositions(shape, [append('u', [1]), bad])).rejects.toMatchObject({
        field: 'appends[1].rows',
      });
      expect(await read('u')).toBeUndefined();
    });

    describe('with a fence', () => {
      afterEach(() => void vi.useRealTimers());
      const passed = { reason: 'deadline', field: 'valid_until_ms' };

      it('appends until its fence ends, and without a fence', async () => {
        await store().appendPositions(shape, [append('u', [1])], { validUntilMs: (await nowMs()) + 60_000 });
        await store().appendPositions(shape, [append('u', [2])], { validUntilMs: 0 });
        expect(await numbersOf('u')).toEqual([1, 2]);
      });

      it('refuses an append after its fence has ended, for every user of the call', async () => {
        const users = Array.from({ length: 70 }, (_, i) => `user ${i}`);
        const appends = users.map((userId) => append(userId, [1]));
        const validUntilMs = (await nowMs()) - 1;
        await expect(store().appendPositions(shape, appends, { validUntilMs })).rejects.toMatchObject(passed);
        const records = await store().getRecords(shape.encodingId, users);
        expect(records).toEqual(users.map(() => undefined));
      });

      it('leaves a record alone whose append is refused, an unreadable one too', async () => {
        await store().appendPositions(shape, [append('u', [1])]);
        await plant('v', shape.encodingId, Buffer.from('garbage'));
        const late = store().appendPositions(shape, [append('u', [2]), append('v', [2])], { validUntilMs: 1 });
        await expect(late).rejects.toMatchObject(passed);
        expect(await numbersOf('u')).toEqual([1]);
        expect(String((await store().getRecords(shape.encodingId, ['v']))[0])).toBe(String(Buffer.from('garbage')));
      });

      it.each([
        ['an hour behind', -3_600_000],
        ['an hour ahead', 3_600_000],
      ])("ends the fence by the store's clock while the caller's clock is %s", async (_, offsetMs) => {
        const storeMs = await nowMs();
        vi.useFakeTimers({ toFake: ['Date'], now: storeMs + offsetMs });
        const early = { validUntilMs: storeMs + 60_000 };
        expect(await store().appendPositions(shape, [append('u', [1])], early)).toMatchObject([{ appliedCount: 1 }]);
        const late = store().appendPositions(shape, [append('u', [2])], { validUntilMs: storeMs - 1 });
        await expect(late).rejects.toMatchObject(passed);
        expect(await numbersOf('u')).toEqual([1]);
      });

      it('names a malformed append before it looks at the fence', async () => {
        const bad = { ...append('u', [1]), eventHashes: new Uint8Array(5) };
        await expect(store().appendPositions(shape, [bad], { validUntilMs: 1 })).rejects.toMatchObject({
          reason: 'invalid_request',
        });
      });
    });

    it.each([
      ['garbage', Buffer.from('what is this')],
      ['nothing', Buffer.alloc(0)],
      [
        'a truncated record',
        Buffer.from(encodeRecord({ ...emptyRecord(), rows: Uint8Array.of(1, 1, 2, 2) })).subarray(0, -1),
      ],
      ['an oversized record', Buffer.concat([encodeRecord(emptyRecord()), Buffer.of(0)])],
      ['a record of another stride', Buffer.from(encodeRecord({ ...emptyRecord(), strideBytes: 3 }))],
      ['a record of a stride 256 larger', Buffer.from(encodeRecord({ ...emptyRecord(), strideBytes: 258 }))],
      ['a record of another layout', Buffer.from(encodeRecord(emptyRecord())).fill(9, 2, 3)],
    ])('sets %s aside and begins a new record', async (_, bytes) => {
      await plant('u', shape.encodingId, bytes);
      expect(await store().appendPositions(shape, [append('u', [7])])).toEqual([
        { appliedCount: 1, duplicateCount: 0, positionCount: 1, unreadable: true },
      ]);
      expect(await numbersOf('u')).toEqual([7]);
    });

    it("refuses to append to another encoding's record and leaves it alone", async () => {
      const bytes = encodeRecord({ ...emptyRecord(), encodingId: 'ffffffffffffffff', rows: Uint8Array.of(9, 9) });
      await plant('u', shape.encodingId, bytes);
      await expect(store().appendPositions(shape, [append('u', [1])])).rejects.toMatchObject({
        reason: 'encoding_mismatch',
      });
      expect(Buffer.from((await store().getRecords(shape.encodingId, ['u']))[0] ?? [])).toEqual(Buffer.from(bytes));
    });

    it("appends for the other users if one of many has another encoding's record", async () => {
      const users = Array.from({ length: 100 }, (_, i) => `user ${i}`);
      await plant('user 50', shape.encodingId, encodeRecord({ ...emptyRecord(), encodingId: 'ffffffffffffffff' }));
      const appends = users.map((user, i) => append(user, [i]));
      await expect(store().appendPositions(shape, appends)).rejects.toMatchObject({ reason: 'encoding_mismatch' });
      const others = appends.filter(({ userId }) => userId !== 'user 50');
      await store().appendPositions(shape, others);
      for (const [i, user] of users.entries()) if (i !== 50) expect(await numbersOf(user)).toEqual([i]);
    });

    it("refuses to delete from another encoding's record and leaves it alone", async () => {
      const bytes = encodeRecord({ ...emptyRecord(), encodingId: 'ffffffffffffffff', rows: Uint8Array.of(9, 9) });
      await plant('u', shape.encodingId, bytes);
      const match = { ...eventMatch('1'), row: Uint8Array.of(9, 9) };
      await expect(store().deletePosition(shape.encodingId, 'u', match)).rejects.toMatchObject({
        reason: 'encoding_mismatch',
      });
      expect(Buffer.from((await store().getRecords(shape.encodingId, ['u']))[0] ?? [])).toEqual(Buffer.from(bytes));
    });

    it('replaces a record', async () => {
      await store().appendPositions(shape, [append('u', [1, 2, 3])]);
      await store().replaceRecord(shape.encodingId, 'u', encodeRecord({ ...emptyRecord(), rows: Uint8Array.of(8, 8) }));
      expect(await numbersOf('u')).toEqual([8]);
    });

    it("deletes a user's records of every encoding and no other user's", async () => {
      const other = { ...shape, encodingId: 'fedcba9876543210' };
      await store().appendPositions(shape, [append('u', [1, 2, 3]), append('v', [1])]);
      await store().appendPositions(other, [append('u', [1])]);
      const deleted = await store().deleteUser('u');
      expect(deleted.sort((a, b) => a.encodingId.localeCompare(b.encodingId))).toEqual([
        { encodingId: shape.encodingId, record: true, unreadable: false, positionCount: 3 },
        { encodingId: other.encodingId, record: true, unreadable: false, positionCount: 1 },
      ]);
      expect(await store().deleteUser('u')).toEqual([]);
      expect(await numbersOf('v')).toEqual([1]);
    });

    it('deletes a record that was never appended to', async () => {
      expect(await store().deleteUser('u')).toEqual([]);
      await store().replaceRecord(shape.encodingId, 'u', encodeRecord(emptyRecord()));
      const encoding = { encodingId: shape.encodingId, record: true, unreadable: false, positionCount: 0 };
      expect(await store().deleteUser('u')).toEqual([encoding]);
      expect(await read('u')).toBeUndefined();
    });

    it('says which records a user has, and deletes none of them', async () => {
      await store().appendPositions(shape, [append('u', [1])]);
      expect(await store().deleteUser('u', { keepRecords: true })).toMatchObject([{ record: true }]);
      expect(await numbersOf('u')).toEqual([1]);
    });

    it('refuses to delete a user after the fence has ended', async () => {
      await store().appendPositions(shape, [append('u', [1])]);
      const storeMs = await nowMs();
      const late = store().deleteUser('u', {}, { validUntilMs: storeMs - 1 });
      await expect(late).rejects.toMatchObject({ reason: 'deadline', field: 'valid_until_ms' });
      expect(await numbersOf('u')).toEqual([1]);
      expect(await store().deleteUser('u', {}, { validUntilMs: storeMs + 60_000 })).toMatchObject([{ record: true }]);
    });

    it('keeps apart users whose ids look like key syntax', async () => {
      const ids = ['a', 'a}', '{a', '{a}', 'a%7d', 'a:0', 'ä', '*', '?', '[a]'];
      await store().appendPositions(
        shape,
        ids.map((id, i) => append(id, [i])),
      );
      for (const [i, id] of ids.entries()) expect(await numbersOf(id)).toEqual([i]);
      expect((await store().stats(shape.encodingId, 100)).recordCount).toBe(ids.length);
    });

    it('deletes a position by its event, and the event still counts as seen', async () => {
      await store().appendPositions(shape, [append('u', [1, 2, 3])]);
      const match = eventMatch('2');
      expect(await store().deletePosition(shape.encodingId, 'u', match)).toMatchObject({
        deleted: true,
        positionCount: 2,
      });
      expect(await store().deletePosition(shape.encodingId, 'u', match)).toMatchObject({
        deleted: false,
        positionCount: 2,
      });
      const [again] = await store().appendPositions(shape, [append('u', [2])]);
      expect(again).toMatchObject({ appliedCount: 0, duplicateCount: 1 });
      expect(await numbersOf('u')).toEqual([1, 3]);
    });

    it('deletes the newest row that is equal, else the nearest within the tolerance', async () => {
      const record = encodeRecord({ ...emptyRecord(), rows: Uint8Array.of(5, 10, 5, 12, 5, 10, 6, 255) });
      await store().replaceRecord(shape.encodingId, 'u', record);
      let event = 0;
      const remove = (row: number[], tolerance: number[]) =>
        store().deletePosition(shape.encodingId, 'u', {
          eventHash: eventHash(`old ${event++}`),
          row: Uint8Array.from(row),
          tolerance: Uint8Array.from(tolerance),
        });
      expect(await remove([5, 11], [])).toMatchObject({ deleted: false });
      expect(await remove([5, 10], [])).toMatchObject({ deleted: true });
      expect([...((await read('u'))?.rows ?? [])]).toEqual([5, 10, 5, 12, 6, 255]);
      expect(await remove([5, 13], [0, 1])).toMatchObject({ deleted: true });
      expect(await remove([6, 0], [0, 1])).toMatchObject({ deleted: true, positionCount: 1 }); // -1 is next to 0
      expect(await remove([6, 10], [0, 1])).toMatchObject({ deleted: false });
    });

    it('deletes no row of another event in the ring by content', async () => {
      const removed = { ...eventMatch('never recorded'), row: Uint8Array.of(9, 9) };
      await store().appendPositions(shape, [append('u', [9, 2])]);
      expect(await store().deletePosition(shape.encodingId, 'u', removed)).toMatchObject({
        deleted: false,
        positionCount: 2,
        eventKnown: false,
      });
      await store().appendPositions(shape, [append('u', [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21])]);
      await store().deletePosition(shape.encodingId, 'u', eventMatch('15'));
      expect(await store().deletePosition(shape.encodingId, 'u', removed)).toMatchObject({ deleted: false });
      await store().appendPositions(shape, [append('u', [22])]); // now the ring has 14 newer events
      expect(await store().deletePosition(shape.encodingId, 'u', removed)).toMatchObject({ deleted: true });
      expect(await numbersOf('u')).toEqual([2, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22]);
    });

    it('forgets no event of a wave, and no deletion, for up to 50 deletions by content before they are repeated', async () => {
      const old = Array.from({ length: 52 }, (_, i) => 100 + i);
      const rows = Uint8Array.from([...old, 100].flatMap((n) => [n, n])); // the first row is there twice
      await store().replaceRecord(shape.encodingId, 'u', encodeRecord({ ...emptyRecord(), rows }));
      const remove = (n: number) => {
        const match = { eventHash: eventHash(String(n)), row: Uint8Array.of(n, n), tolerance: new Uint8Array(0) };
        return store().deletePosition(shape.encodingId, 'u', match);
      };
      const long = { ...shape, maxPositions: 1_000 };
      const wave = Array.from({ length: RECENT_EVENT_RING }, (_, i) => i + 1);
      await store().appendPositions(long, [append('u', wave)]);
      for (const n of old.slice(0, 50)) {
        expect(await remove(n)).toMatchObject({ deleted: true });
      }
      const [again] = await store().appendPositions(long, [append('u', wave)]);
      expect(again).toMatchObject({ appliedCount: 0, duplicateCount: RECENT_EVENT_RING });
      expect(await remove(100)).toMatchObject({ deleted: false, eventKnown: true });
      await store().appendPositions(long, [append('u', [15])]);
      expect(await numbersOf('u')).toEqual([100, 150, 151, ...wave, 15]);
      expect((await read('u'))?.recentEvents).toHaveLength(RECENT_EVENT_RING * EVENT_HASH_BYTES);
    });

    it('deletes by content once, however often the deletion is repeated', async () => {
      const record = encodeRecord({ ...emptyRecord(), rows: Uint8Array.of(5, 5, 5, 5, 5, 5) });
      await store().replaceRecord(shape.encodingId, 'u', record);
      const match = { eventHash: eventHash('old'), row: Uint8Array.of(5, 5), tolerance: new Uint8Array(0) };
      expect(await store().deletePosition(shape.encodingId, 'u', match)).toMatchObject({
        deleted: true,
        positionCount: 2,
      });
      expect(await store().deletePosition(shape.encodingId, 'u', match)).toMatchObject({
        deleted: false,
        positionCount: 2,
      });
    });

    it('refuses a deletion after its fence has ended, if there is a position to delete', async () => {
      const record = encodeRecord({ ...emptyRecord(), rows: Uint8Array.of(5, 5, 5, 5) });
      await store().replaceRecord(shape.encodingId, 'u', record);
      const match = { eventHash: eventHash('old'), row: Uint8Array.of(5, 5), tolerance: new Uint8Array(0) };
      const storeMs = await nowMs();
      const remove = (validUntilMs: number) => store().deletePosition(shape.encodingId, 'u', match, { validUntilMs });
      await expect(remove(storeMs - 1)).rejects.toMatchObject({ reason: 'deadline', field: 'valid_until_ms' });
      expect(Buffer.from((await store().getRecords(shape.encodingId, ['u']))[0] ?? [])).toEqual(Buffer.from(record));
      expect(await remove(storeMs + 60_000)).toMatchObject({ deleted: true, positionCount: 1 });
      expect(await remove(storeMs - 1)).toMatchObject({ deleted: false, positionCount: 1 });
    });

    it('deletes a record that cannot be read as a whole, within the fence, and says so', async () => {
      const remove = (validUntilMs: number) =>
        store().deletePosition(shape.encodingId, 'u', eventMatch('1'), { validUntilMs });
      await plant('u', shape.encodingId, Buffer.from('garbage'));
      await expect(remove((await nowMs()) - 1)).rejects.toMatchObject({ reason: 'deadline' });
      expect(await remove((await nowMs()) + 60_000)).toEqual({
        deleted: false,
        positionCount: 0,
        eventKnown: false,
        laterCount: 0,
        unreadable: true,
      });
      expect(await store().getRecords(shape.encodingId, ['u'])).toEqual([undefined]);
    });

    it('throws user_not_found without a record to delete from', async () => {
      const match = eventMatch('1');
      await expect(store().deletePosition(shape.encodingId, 'u', match)).rejects.toMatchObject({
        reason: 'user_not_found',
      });
    });

    it('loses no append during a deletion', async () => {
      await store().appendPositions(shape, [append('u', [1, 2, 3])]);
      await Promise.all([
        store().deletePosition(shape.encodingId, 'u', eventMatch('2')),
        ...[4, 5, 6, 7].map((n) => store().appendPositions(shape, [append('u', [n])])),
      ]);
      expect((await numbersOf('u')).sort((a, b) => a - b)).toEqual([1, 3, 4, 5, 6, 7]);
    });

    it('counts records, positions and lifetimes, of one encoding or of all, up to a bound', async () => {
      await store().appendPositions(shape, [append('u', [1, 2]), append('v', [1])]);
      await store().appendPositions({ ...shape, encodingId: 'fedcba9876543210' }, [append('u', [1])]);
      expect(await store().stats(shape.encodingId, 100)).toMatchObject({
        recordCount: 2,
        positionCount: 3,
        lifetimeCount: 3,
      });
      expect(await store().stats('', 100)).toMatchObject({ recordCount: 3, positionCount: 4, truncated: false });
      expect(await store().stats('', 2)).toMatchObject({ recordCount: 2, truncated: true });
      expect(await store().stats('', 3)).toMatchObject({ recordCount: 3, truncated: false });
      const { memoryBytes, ledgerBytes, encodings } = await store().stats('', 100);
      expect(memoryBytes).toBeGreaterThan(3 * 30);
      expect(ledgerBytes).toBeGreaterThan(3 * 30);
      expect(encodings).toMatchObject([
        { encodingId: shape.encodingId, recordCount: 2, positionCount: 3, lifetimeCount: 3 },
        { encodingId: 'fedcba9876543210', recordCount: 1, positionCount: 1, lifetimeCount: 1 },
      ]);
      expect(encodings.reduce((sum, encoding) => sum + encoding.memoryBytes, 0)).toBe(memoryBytes);
      expect(encodings.reduce((sum, encoding) => sum + encoding.ledgerBytes, 0)).toBe(ledgerBytes);
    });

    it('drops the records of one encoding, and no other', async () => {
      const other = { ...shape, encodingId: 'fedcba9876543210' };
      const users = Array.from({ length: 700 }, (_, i) => `dropped ${i}`);
      for (let from = 0; from < users.length; from += 100) {
        const appends = users.slice(from, from + 100).map((userId) => append(userId, [1]));
        await store().appendPositions(shape, appends);
        await store().appendPositions(other, appends);
      }
      let [cursor, droppedCount] = ['', 0];
      do {
        const dropped = await store().dropRecords(shape.encodingId, cursor);
        droppedCount += dropped.droppedCount;
        cursor = dropped.nextCursor;
      } while (cursor !== '');
      expect(droppedCount).toBe(users.length);
      expect((await store().stats(shape.encodingId, 1_000)).recordCount).toBe(0);
      expect((await store().stats(other.encodingId, 1_000)).recordCount).toBe(users.length);
    });

    it('drops nothing after the fence has ended', async () => {
      await store().appendPositions(shape, [append('u', [1]), append('v', [1])]);
      const storeMs = await nowMs();
      const late = store().dropRecords(shape.encodingId, '', { validUntilMs: storeMs - 1 });
      await expect(late).rejects.toMatchObject({ reason: 'deadline', field: 'valid_until_ms' });
      expect((await store().stats(shape.encodingId, 100)).recordCount).toBe(2);
      const fence = { validUntilMs: storeMs + 60_000 };
      expect((await store().dropRecords(shape.encodingId, '', fence)).droppedCount).toBe(2);
      await store().dropRecords(shape.encodingId, '', { validUntilMs: storeMs - 1 }); // there is nothing to delete
    });

    it('agrees with a simple model for any order of appends, retries and deletions', async () => {
      const step = fc.oneof(
        fc.record({
          kind: fc.constant('append' as const),
          numbers: fc.array(fc.nat(40), { minLength: 1, maxLength: 14 }),
        }),
        fc.record({ kind: fc.constant('delete' as const), number: fc.nat(40) }),
      );
      let run = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
          const userId = `model ${run++}`;
          let rows: number[] = [];
          let ring: { n: number; live: boolean }[] = [];
          for (const next of steps) {
            if (next.kind === 'append') {
              await store().appendPositions(shape, [append(userId, next.numbers)]);
              for (const n of next.numbers) {
                if (!ring.some((entry) => entry.n === n)) {
                  rows.push(n);
                  ring.push({ n, live: true });
                }
              }
              ring = ring.slice(-RECENT_EVENT_RING);
              rows = rows.slice(-shape.maxPositions);
            } else if (rows.length > 0 || (await read(userId))) {
              const match = eventMatch(String(next.number));
              const entry = ring.find(({ n, live }) => live && n === next.number);
              const { deleted } = await store().deletePosition(shape.encodingId, userId, match);
              expect(deleted).toBe(entry !== undefined);
              if (!entry) continue;
              const fromEnd = ring.filter(({ live }) => live).length - ring.filter(({ live }) => live).indexOf(entry);
              rows.splice(rows.length - fromEnd, 1);
              entry.live = false;
            }
            expect(await numbersOf(userId)).toEqual(rows);
          }
        }),
        { numRuns: 60 },
      );
    });
  });
}

function emptyRecord() {
  const { encodingId, strideBytes } = shape;
  return {
    encodingId,
    strideBytes,
    lifetimeCount: 4,
    lastEventMs: 5,
    recentEvents: new Uint8Array(0),
    rows: new Uint8Array(0),
  };
}

function eventMatch(eventId: string) {
  return { eventHash: eventHash(eventId), row: new Uint8Array(0), tolerance: new Uint8Array(0) };
}
