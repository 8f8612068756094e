// A process is stopped before each step of a backfill that changes something, as by SIGSTOP: it sends nothing any more,
// and renews nothing. Another process ends the backfill meanwhile. Then the first one goes on. Redis, the queue and the
// records are real. A loop stands for the updaters: it appends a row for each interaction.
import { eventHash, type Interaction } from '@collectivekv/domain';
import { withClaim } from '@collectivekv/operations';
import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import {
  CLAIM_MS,
  openEncodingClaims,
  openLeaseTable,
  openPartitionQueue,
  openWarmings,
  type PartitionQueue,
} from '@collectivekv/update-queue';
import { createRedisUserStore } from '@collectivekv/user-store';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { BackfillFiles } from './backfill-files.js';
import { runBackfill } from './backfill-run.js';

const ENCODING = '0123456789abcdef';
const PARTITIONS = 2;
const USERS = Array.from({ length: 8 }, (_, i) => `user ${i}`);
const SHAPE = { encodingId: ENCODING, strideBytes: 1, maxPositions: 1_000 };
const CLAIMS = '{ckv}:encoding-claims';

let redis: PrivateRedis;
const clients: RedisClient[] = [];
async function connect(): Promise<RedisClient> {
  const made = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
  clients.push(made);
  return made;
}
let client: RedisClient;
let queues: PartitionQueue[];

beforeAll(async () => {
  redis = await startTemporaryRedis();
  client = await connect();
});
afterAll(async () => {
  for (const one of clients) closeRedis(one);
  await redis?.stop();
});
beforeEach(async () => {
  await client.flushall();
  const { terms } = await openLeaseTable(client, 'ckv', PARTITIONS).hold('updater', 3_600_000);
  queues = terms.map((term) => openPartitionQueue({ client, keyPrefix: 'ckv', term, token: 'one' }));
  for (const queue of queues) await queue.recover();
});

const store = () => createRedisUserStore({ client, keyPrefix: 'ckv', recordTtlS: 3_600 });
const rows: Interaction[] = Array.from({ length: 40 }, (_, n) =>
  USERS.map((userId) => interactionOf(userId, n)),
).flat();
const files: BackfillFiles = {
  digest: 'd',
  names: ['log.csv'],
  fileDigests: ['d'],
  rowCount: rows.length,
  async *rows() {
    yield* rows;
  },
};

function interactionOf(userId: string, n: number): Interaction {
  const timestampMs = 1_700_000_000_000 + n;
  return { eventId: `${userId} ${n}`, userId, itemId: 'i', timestampMs, action: '', features: {} };
}

/** Does what the updaters do: each partition's next batch, or its next phase. */
async function updateOnce(): Promise<void> {
  for (const { warming } of queues) {
    await warming.arm(true, [ENCODING]);
    const batch = await warming.read(ENCODING, 500);
    if (!batch) continue;
    if (batch.entryCount === 0) {
      await warming.nextPhase(batch);
      continue;
    }
    for (const wave of batch.waves) {
      for (const { interaction } of wave.events) {
        const { userId, eventId, timestampMs } = interaction;
        const append = { userId, eventHashes: eventHash(eventId), rows: Uint8Array.of(1), lastEventMs: timestampMs };
        await store().appendPositions(SHAPE, [append]);
      }
      await warming.complete(batch, wave);
    }
  }
}

/** A process that can be stopped before a step: of its calls, those that change something count. */
async function openProcess(stopBefore = Number.POSITIVE_INFINITY) {
  const own = await connect();
  let steps = 0;
  let stopped = false;
  let goOn: () => void = () => undefined;
  const going = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  /** Waits while the process is stopped. */
  async function step(counts: boolean): Promise<void> {
    if (counts) steps++;
    if (steps >= stopBefore) {
      stopped = true;
      await going;
    }
  }
  const gated = new Proxy(own, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      const isCommand = ['hgetall', 'hmget', 'xlen', 'xrange', 'xrevrange', 'llen', 'lpos', 'lrange'].includes(
        String(name),
      );
      const isScript = String(name).startsWith('ckv');
      if (!isCommand && !isScript) return value.bind(target);
      return async (...args: unknown[]) => {
        await step(isScript && name !== 'ckvClaimEncoding');
        return value.apply(target, args);
      };
    },
  });
  const claims = openEncodingClaims(gated, 'ckv');
  const warmings = openWarmings({ client: gated, keyPrefix: 'ckv', partitionCount: PARTITIONS });
  const userCache = {
    async call(_: string, { encodingId, cursor, validUntilMs }: { [key: string]: string | number }) {
      await step(true);
      // The time for which `lapse` stands has passed by the clock of Redis.
      const fence = { validUntilMs: Number(validUntilMs) - (stopped ? CLAIM_MS : 0) };
      return store().dropRecords(String(encodingId), String(cursor), fence);
    },
  };
  const parts = { claims, encodingId: ENCODING, onProgress: () => undefined };
  return {
    goOn,
    isStopped: () => stopped,
    run: () =>
      withClaim({ ...parts, by: '"ckv backfill"', userCache: () => userCache as never }, ({ claim, dropRecords }) => {
        const options = { warmings, claim, bundleId: 'b', files, again: false, ratePerS: 1e7, dropRecords };
        return runBackfill({ ...options, onProgress: () => undefined });
      }),
    cancel: () =>
      withClaim(
        { ...parts, by: '"ckv backfill cancel"', userCache: () => userCache as never },
        async ({ claim, dropRecords }) => {
          await warmings.end(claim);
          await dropRecords();
        },
      ),
  };
}

/** Ends the claim of a process that is stopped, as the time does. */
async function lapse(): Promise<void> {
  const claim = await client.hget(CLAIMS, ENCODING);
  if (claim) await client.hset(CLAIMS, ENCODING, claim.replace(/^(\S+) \d+/, '$1 1'));
}

const outcomeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (error: unknown) => error,
  );

async function whileUpdating(work: Promise<unknown>): Promise<unknown> {
  let outcome: unknown;
  void outcomeOf(work).then((result) => {
    outcome = result;
  });
  await vi.waitUntil(
    async () => {
      await updateOnce();
      return outcome !== undefined;
    },
    { timeout: 60_000, interval: 5 },
  );
  return outcome;
}

/** What a late process must not change. */
async function stateNow() {
  const { lifetimeCount } = await store().stats(ENCODING, 1_000);
  const records = await store().getRecords(ENCODING, USERS);
  const [keys, warmings] = [await client.keys('{ckv}:warming*'), await client.hgetall('{ckv}:warmings')];
  return { lifetimeCount, records, keys: keys.sort(), warmings };
}

/**
 * Stops a process before one of its steps, lets another one end the backfill, and lets the first one go on.
 * @param again the other process then builds the records once more
 * @returns false if the first process has fewer steps
 */
async function stopAndGoOn(late: 'run' | 'cancel', stopBefore: number, again = false): Promise<boolean> {
  if (late === 'run') await client.del('{ckv}:finished-warmings'); // of the round before
  const first = await openProcess(stopBefore);
  const outcome = outcomeOf(first[late]());
  let ended = false;
  void outcome.then(() => {
    ended = true;
  });
  await vi.waitUntil(
    async () => {
      if (!first.isStopped()) await updateOnce();
      return ended || first.isStopped();
    },
    { timeout: 60_000, interval: 5 },
  );
  if (ended) return false;

  await lapse();
  const second = await openProcess();
  expect(await whileUpdating(second.run())).toBe('done');
  if (again) {
    await second.cancel();
    expect(await whileUpdating(second.run())).toBe('done');
  }
  const before = await stateNow();
  expect(before.lifetimeCount).toBe(rows.length);

  first.goOn();
  const refused = { reason: expect.stringMatching(/^(conflict|deadline)$/) };
  expect(await outcome, `stopped before step ${stopBefore}`).toMatchObject(refused);
  expect(await stateNow()).toEqual(before);
  return true;
}

describe('a process that comes back after another one has ended the backfill', () => {
  it.each([
    ['', false],
    [', and built the records once more', true],
  ])('changes nothing%s', async (_, again) => {
    let stopBefore = 1;
    while (await stopAndGoOn('run', stopBefore, again)) stopBefore++;
    expect(stopBefore).toBeGreaterThan(5); // begin, drop, open, send, finish
  });

  it('cancels nothing', async () => {
    for (const stopBefore of [1, 2]) {
      expect(await whileUpdating((await openProcess()).run())).toBe('done');
      expect(await stopAndGoOn('cancel', stopBefore)).toBe(true);
    }
  });
});

it('refuses a second process while the first one lives, and names it', async () => {
  const first = await openProcess();
  const running = first.run(); // it waits for updaters
  await vi.waitUntil(async () => (await client.hlen(CLAIMS)) === 1);
  const second = await openProcess();
  const refused = { reason: 'conflict', message: expect.stringMatching(/"ckv backfill", process \d+ on /) };
  await expect(second.run()).rejects.toMatchObject(refused);
  await expect(second.cancel()).rejects.toMatchObject(refused);
  expect(await whileUpdating(running)).toBe('done');
});
