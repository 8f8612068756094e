// Records that do not belong where they are: of another encoding, of a bundle, with rows of another length. Nothing that
// reads, appends, edits or shows records takes them for the user's.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type CollectiveKvClient, createCollectiveKvClient } from '@collectivekv/client';
import { encodeRecord, eventHash, type UserRecord } from '@collectivekv/domain';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type E2eStack,
  interactionsOf,
  keyOf,
  type OtherRanking,
  startE2e,
  startOtherRanking,
  withQueue,
} from './e2e-stack.js';

const candidateIds = ['i0001', 'i0002', 'i0003'];
let e2e: E2eStack;
/** Ranking services that read through the user-cache, and that gather pool rows. */
let others: OtherRanking[];
let clients: CollectiveKvClient[];
/** A record with 20 positions. */
let sound: UserRecord;

beforeAll(async () => {
  e2e = await startE2e();
  others = await Promise.all([
    startOtherRanking(e2e.stack, { CKV_RECORD_READS: 'user-cache' }),
    startOtherRanking(e2e.stack, { CKV_POOL_MODE: 'remote' }),
  ]);
  clients = [e2e.stack.targets.ranking, ...others.map(({ address }) => address)].map((rankingTarget) =>
    createCollectiveKvClient({ rankingTarget, rankTimeoutMs: 10_000, maxAttempts: 1 }),
  );
  await e2e.client.recordInteractions(interactionsOf('model', 20));
  sound = await e2e.untilApplied('model', 20);
});
afterAll(async () => {
  for (const client of clients ?? []) client.close();
  for (const other of others ?? []) await other.close();
  await e2e?.close();
});

const plant = (userId: string, bytes: Uint8Array) =>
  withQueue(e2e, async ({ redis }) => {
    await redis.set(keyOf(e2e.bundle.model, userId), Buffer.from(bytes));
  });
const bytesOf = async (userId: string) => {
  const { encodingId } = e2e.bundle.model;
  const { records } = await e2e.userCache.call('GetRecords', { encodingId, userIds: [userId] });
  return Buffer.from(records[0] ?? []);
};
function ckv(...args: string[]) {
  const command = [fileURLToPath(new URL('../../packages/cli/bin/ckv.js', import.meta.url)), ...args];
  const { targets } = e2e.stack;
  const env = { ...process.env, CKV_POOL_TARGET: targets.pool, CKV_USER_CACHE_TARGET: targets['user-cache'] };
  return spawnSync(process.execPath, command, { encoding: 'utf8', env });
}

describe.each([
  ['another encoding', 'encoding_mismatch', () => ({ encodingId: 'f'.repeat(16) })],
  // The keys of two encodings may be equal, since they have 8 characters of the id.
  ['an encoding whose id begins alike', 'encoding_mismatch', () => ({ encodingId: alike() })],
  ['the bundle, as records were before', 'encoding_mismatch', () => ({ encodingId: e2e.bundle.model.id })],
  ['rows of another length', 'record_corrupt', () => ({ strideBytes: 1 })],
] as const)('a record of %s', (name, reason, change) => {
  const userId = `of ${name}`;
  let bytes: Buffer;
  beforeAll(async () => {
    bytes = Buffer.from(encodeRecord({ ...sound, ...change() }));
    await plant(userId, bytes);
  });

  it('is not ranked by, in any mode, from Redis, from the user-cache or from the near cache', async () => {
    for (const client of clients) {
      const without = await client.rank({ userId: 'nobody', candidateIds });
      for (const maxStalenessMs of [0, 60_000, 60_000]) {
        const { scores, info } = await client.rank({ userId, candidateIds, maxStalenessMs });
        expect(info).toMatchObject({ rung: 'no_history', rungReason: reason, positionCount: 0, coldUser: false });
        expect(scores).toEqual(without.scores);
      }
      const required = client.rank({ userId, candidateIds, history: 'required' });
      await expect(required).rejects.toMatchObject({ reason });
    }
  });

  it('is not shown', () => {
    const { status, stderr } = ckv('user', 'show', userId);
    expect(status).not.toBe(0);
    expect(stderr).toMatch(reason === 'record_corrupt' ? /rows of 1 bytes/ : /the record is of encoding/);
  });

  it.runIf(reason === 'encoding_mismatch')('is not replaced by its like, edited or appended to', async () => {
    const { encodingId, layout, manifest } = e2e.bundle.model;
    const replace = e2e.userCache.call('ReplaceRecord', { encodingId, userId, record: bytes });
    await expect(replace).rejects.toMatchObject({ reason: 'invalid_request', field: 'record' });
    const event = Buffer.from(eventHash('e'));
    const edit = e2e.userCache.call('DeletePosition', { encodingId, userId, eventHash: event });
    await expect(edit).rejects.toMatchObject({ reason });
    const append = e2e.userCache.call('AppendPositions', {
      encodingId,
      strideBytes: layout.strideBytes,
      maxPositions: manifest.maxPositions,
      appends: [{ userId, eventHashes: event, rows: Buffer.alloc(layout.strideBytes), lastEventMs: 1 }],
    });
    await expect(append).rejects.toMatchObject({ reason, field: 'encoding_id' });
    expect(await bytesOf(userId)).toEqual(bytes);
  });

  it.runIf(reason === 'encoding_mismatch')('sets interactions of its user aside', async () => {
    await withQueue(e2e, async ({ inspection }) => {
      await e2e.client.recordInteractions(interactionsOf(userId, 1));
      await expect.poll(async () => (await inspection.failed(9)).length, { timeout: 60_000 }).toBe(1);
      expect((await inspection.failed(9))[0]?.problem).toMatch(/^encoding_mismatch/);
      await inspection.drop();
    });
    expect(await bytesOf(userId)).toEqual(bytes);
  });

  it.runIf(reason === 'record_corrupt')('is moved to another key by an append, which begins a new record', async () => {
    const interactions = interactionsOf(userId, 3);
    await e2e.client.recordInteractions(interactions);
    await e2e.expectRows(await e2e.untilApplied(userId, 3), interactions);
    await withQueue(e2e, async ({ redis }) => {
      expect(await redis.getBuffer(`${keyOf(e2e.bundle.model, userId)}:corrupt`)).toEqual(bytes);
    });
  });
});

/** Returns an id that begins as that of the bundle's encoding. */
function alike(): string {
  const { encodingId } = e2e.bundle.model;
  return encodingId.replace(/.$/, (digit) => (digit === '0' ? '1' : '0'));
}
