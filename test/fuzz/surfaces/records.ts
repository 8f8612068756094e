import { decodeRecord, toCkvError } from '@collectivekv/domain';
import { damagedBytes } from '../inputs/damaged-bytes.js';
import { isRefusal } from '../refusals.js';
import type { ServicesUnderFuzz } from '../services-under-fuzz.js';
import type { Surface } from '../surface.js';

/** Reasons for an answer without the record. */
const UNREADABLE = ['record_corrupt', 'encoding_mismatch'];
const USERS = 50;

/**
 * Bytes in the place of a record. ranking reads them, and the user-cache reads, edits and appends to them. What it
 * leaves must be a record.
 */
export function recordsSurface(services: ServicesUnderFuzz): Surface<Buffer> {
  const { redis, kv, userCache, encodingId, strideBytes, record, stillRight } = services;
  const header = record.subarray(0, 30 + 14 * 6);
  const shape = { encodingId, strideBytes };
  let next = 0;

  async function rank(userId: string, bytes: Buffer): Promise<boolean> {
    const candidateIds = ['i0001', 'i0002', 'i0003'];
    const { scores, info } = await kv.rank({ userId, candidateIds });
    if (!scores.every(Number.isFinite)) throw new Error(`a score is ${scores.find((one) => !Number.isFinite(one))}`);
    const required = await kv.rank({ userId, candidateIds, history: 'required' }).then(
      () => '',
      (error) => toCkvError(error).reason,
    );
    if (required !== info.rungReason) throw new Error(`the rung is ${info.rung}, with history required: ${required}`);
    if (info.rung === 'full') {
      if (!info.coldUser) decodeRecord(bytes, shape); // throws if ranking believed what is no record
      return true;
    }
    if (UNREADABLE.includes(info.rungReason)) return false;
    throw new Error(`the rung is ${info.rung} because of ${info.rungReason}`);
  }

  /** Makes a call that may be refused. Returns undefined then. */
  async function allowingRefusal<T>(call: Promise<T>): Promise<T | undefined> {
    try {
      return await call;
    } catch (thrown) {
      const error = toCkvError(thrown);
      if (isRefusal(error)) return undefined;
      throw error;
    }
  }

  return {
    name: 'records in Redis',
    inputs: damagedBytes([record, header, record.subarray(0, 30)]),
    async judge(bytes) {
      const userId = `record-${next++ % USERS}`;
      const key = `ckv:{${userId}}:${encodingId.slice(0, 8)}`;
      await redis.set(key, bytes, 'EX', 3_600);
      const believed = await rank(userId, bytes);
      const { records } = await userCache.call('GetRecords', { encodingId, userIds: [userId] });
      if (!bytes.equals(Buffer.from(records[0] ?? [])))
        throw new Error('GetRecords answers other bytes than Redis holds');
      await allowingRefusal(userCache.call('ReplaceRecord', { encodingId, userId: 'replaced', record: bytes }));
      const match = { eventHash: bytes.subarray(30, 36), row: bytes.subarray(-strideBytes) };
      if (match.eventHash.length === 6) {
        await allowingRefusal(userCache.call('DeletePosition', { encodingId, userId, ...match }));
      }
      const rows = Buffer.alloc(strideBytes);
      const append = { userId, eventHashes: Buffer.alloc(6, 7), rows, lastEventMs: 1 };
      const appended = await allowingRefusal(
        userCache.call('AppendPositions', { ...shape, maxPositions: 100, appends: [append] }),
      );
      if (appended) {
        const left = decodeRecord((await redis.getBuffer(key)) ?? Buffer.alloc(0), shape);
        const { positionCount } = appended.outcomes[0] ?? { positionCount: -1 };
        if (left.positionCount !== positionCount)
          throw new Error(`${left.positionCount} positions, not ${positionCount}`);
      }
      await redis.unlink(key, `${key}:corrupt`);
      return believed ? 'accepted' : 'refused';
    },
    async stillRight() {
      await stillRight();
      await userCache.call('Stats', { encodingId: '', maxRecords: 0 });
    },
  };
}
