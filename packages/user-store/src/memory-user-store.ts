import { decodeRecord, RECORD_FIXED_BYTES, strideOf, toCkvError } from '@collectivekv/domain';
import { RecordCount } from './record-count.js';
import { appendToRecord, deleteFromBytes } from './record-edit.js';
import { checkAppend, fenceEnded, NO_FENCE, noRecord, type RecordShape, type UserStore } from './user-store.js';

/**
 * Creates a store in memory, for tests of its callers. It answers as the store in Redis does and keeps nothing.
 * @param nowMs the store's clock, Unix ms
 */
export function createMemoryUserStore(nowMs: () => number = Date.now): UserStore {
  const records = new Map<string, Map<string, Uint8Array>>(); // user -> encoding -> record
  const recordsOf = (userId: string) => records.get(userId) ?? new Map<string, Uint8Array>();
  const put = (userId: string, encodingId: string, bytes: Uint8Array) =>
    records.set(userId, recordsOf(userId).set(encodingId, bytes));

  const hasEnded = (validUntilMs: number) => validUntilMs !== 0 && nowMs() > validUntilMs;

  /** Returns the record to append to, and whether an unreadable record was found in its place. */
  function readable({ encodingId, strideBytes }: Omit<RecordShape, 'maxPositions'>, bytes: Uint8Array | undefined) {
    if (!bytes) return { record: undefined, unreadable: false };
    try {
      return { record: decodeRecord(bytes, { encodingId, strideBytes }), unreadable: false };
    } catch (error) {
      if (toCkvError(error).reason !== 'record_corrupt') throw error;
      return { record: undefined, unreadable: true };
    }
  }

  return {
    async getRecords(encodingId, userIds) {
      return userIds.map((userId) => recordsOf(userId).get(encodingId));
    },
    async appendPositions(shape, appends, { validUntilMs } = NO_FENCE) {
      for (const [i, append] of appends.entries()) checkAppend(shape, append, `appends[${i}]`);
      if (hasEnded(validUntilMs)) throw fenceEnded();
      return appends.map((append) => {
        const { record, unreadable } = readable(shape, recordsOf(append.userId).get(shape.encodingId));
        const { bytes, appliedCount, duplicateCount } = appendToRecord(record, shape, append);
        if (bytes) put(append.userId, shape.encodingId, bytes);
        const after = readable(shape, recordsOf(append.userId).get(shape.encodingId)).record;
        return { appliedCount, duplicateCount, positionCount: after?.positionCount ?? 0, unreadable };
      });
    },
    async replaceRecord(encodingId, userId, record) {
      put(userId, encodingId, record);
    },
    async deleteUser(userId, { keepRecords = false } = {}, { validUntilMs } = NO_FENCE) {
      if (hasEnded(validUntilMs)) throw fenceEnded();
      const found = [...recordsOf(userId)];
      if (!keepRecords) records.delete(userId);
      return found.map(([encodingId, bytes]) => {
        const { record } = readable({ encodingId, strideBytes: strideOf(bytes) }, bytes);
        return { encodingId, record: true, unreadable: false, positionCount: record?.positionCount ?? 0 };
      });
    },
    async deletePosition(encodingId, userId, match, { validUntilMs } = NO_FENCE) {
      const bytes = recordsOf(userId).get(encodingId);
      if (!bytes) throw noRecord();
      const { bytes: edited, outcome } = deleteFromBytes(bytes, encodingId, match);
      if (edited && hasEnded(validUntilMs)) throw fenceEnded();
      if (outcome.unreadable) recordsOf(userId).delete(encodingId);
      else if (edited) put(userId, encodingId, edited);
      return outcome;
    },
    async dropRecords(encodingId, _, { validUntilMs } = NO_FENCE) {
      const some = [...records.values()].some((own) => own.has(encodingId));
      if (some && hasEnded(validUntilMs)) throw fenceEnded();
      const had = [...records.values()].filter((own) => own.delete(encodingId));
      return { droppedCount: had.length, nextCursor: '' };
    },
    async stats(encodingId, maxRecords) {
      const all = [...records.values()].flatMap((encodings) =>
        [...encodings].filter(([id]) => encodingId === '' || id === encodingId).map(([id, bytes]) => ({ id, bytes })),
      );
      const counted = all.slice(0, maxRecords);
      const total = new RecordCount();
      for (const { bytes } of counted) {
        const header = Buffer.from(bytes.subarray(0, RECORD_FIXED_BYTES));
        total.add({ header, keyBytes: 0, memoryBytes: bytes.length, cluster: false });
      }
      return total.stats(all.length > maxRecords);
    },
  };
}
