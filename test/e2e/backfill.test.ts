// Records of a new encoding are built while live interactions of the same users go on, and whatever takes part in it is
// killed. The records of the active encoding are the oracle: they came through the queue alone. Both bundles give the
// same rows. So the records must be equal byte by byte, without the ids of their encodings.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { openBundle, readServedGolden } from '@collectivekv/bundles';
import type { InteractionInput } from '@collectivekv/client';
import { bundleIdOf, decodeRecord, encodingIdOf, type Interaction, parseManifest } from '@collectivekv/domain';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createInteractionProducer, openWarmings, type Warming, waitingCounts } from '@collectivekv/update-queue';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { DEMO_BUNDLE, type E2eStack, interactionsOf, keyOf, PARTITIONS, startE2e } from './e2e-stack.js';

const CKV = fileURLToPath(new URL('../../packages/cli/bin/ckv.js', import.meta.url));
const HSTU = fileURLToPath(new URL('../fixtures/bundles/hstu', import.meta.url));
const USERS = Array.from({ length: 24 }, (_, i) => `user-${i}`);
const [DELETED = '', FORGETFUL = ''] = USERS;
/** Interactions of each user before the backfill begins, and between its begin and the export. */
const BEFORE = 120;
const EXPORTED = 130;
/** Interactions of each user that wait in the queue as files that have them are applied. */
const QUEUED = 250;

describe.each([
  ['a bundle that encodes each interaction alone', DEMO_BUNDLE],
  ['a bundle that encodes with history', HSTU],
])('%s', (_, source) => {
  let dir: string;
  let e2e: E2eStack;
  let redis: RedisClient;
  let candidate: { id: string; encodingId: string };
  let known: readonly Pick<InteractionInput, 'itemId' | 'action' | 'features'>[] = [];
  /** Interactions of each user that were sent so far. */
  const sent = new Map(USERS.map((userId) => [userId, 0]));

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'ckv-backfill-'));
    copyBundle(source, join(dir, 'bundles', 'first'), {});
    const { actions } = parseManifest(readFileSync(join(source, 'bundle.json')));
    candidate = copyBundle(source, join(dir, 'bundles', 'second'), { actions: [...actions, 'never sent'] });
    if (source !== DEMO_BUNDLE) {
      known = (await readServedGolden(await openBundle(source))).flatMap(({ interactions }) => interactions);
    }
    const updater = { CKV_BACKFILL_RATE: '1500', CKV_EVENT_LOG: '2h' };
    e2e = await startE2e(
      {
        dir: join(dir, 'stack'),
        bundlesDir: join(dir, 'bundles'),
        replicas: { updater: 2, 'user-cache': 2 },
        env: { pool: { CKV_ACTIVE_BUNDLE: 'first' }, updater },
      },
      join(dir, 'bundles', 'first'),
    );
    redis = await connectedRedis(e2e.stack.redisUrl, { field: 'url', name: 'test', whenAway: 'wait' });
  });
  afterAll(async () => {
    if (redis) closeRedis(redis);
    await e2e?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const eventOf = (userId: string, n: number): InteractionInput => {
    const [one] = interactionsOf(userId, 1, n);
    const content = known.length > 0 ? known[n % known.length] : {};
    return { ...(one as InteractionInput), ...content, eventId: `${userId}-${n}`, userId };
  };

  /** The event that the first test forgets. */
  const isForgotten = (userId: string, n: number) =>
    userId === FORGETFUL && n === EXPORTED - 20 && !e2e.bundle.model.encodesWithHistory;

  /** Records the next interactions of each user, in order. */
  async function record(count: number, users: readonly string[] = USERS): Promise<void> {
    const events = users.flatMap((userId) => {
      const from = sent.get(userId) ?? 0;
      sent.set(userId, from + count);
      return Array.from({ length: count }, (_, i) => eventOf(userId, from + i));
    });
    for (let from = 0; from < events.length; from += 500) {
      await e2e.client.recordInteractions(events.slice(from, from + 500));
    }
  }

  function ckv(...args: string[]): ChildProcess {
    const { targets, redisUrl } = e2e.stack;
    const options = ['--pool', targets.pool, '--user-cache', targets['user-cache'], '--queue-redis', redisUrl];
    const child = spawn(process.execPath, [CKV, ...options, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH ?? '', CKV_PARTITIONS: String(PARTITIONS) },
    });
    let errors = '';
    child.stderr?.on('data', (chunk) => {
      errors = `${errors}${chunk}`.slice(-2_000);
    });
    child.on('exit', (code) => code && code !== 0 && console.error(errors));
    return child;
  }
  /** Runs a command that is to be refused. Returns what it says. */
  async function refusalOf(...args: string[]): Promise<string> {
    const child = ckv(...args);
    let text = '';
    child.stderr?.on('data', (chunk) => {
      text += chunk;
    });
    expect(await codeOf(child), text).toBe(1);
    return text;
  }
  const codeOf = async (child: ChildProcess): Promise<number | null> => (await once(child, 'exit'))[0] as number | null;

  async function warming(): Promise<Warming | undefined> {
    const all = await openWarmings({ client: redis, keyPrefix: 'ckv', partitionCount: PARTITIONS }).all();
    return all.find(({ encodingId }) => encodingId === candidate.encodingId);
  }
  const appliedCount = async () =>
    ((await warming())?.partitions ?? []).reduce((sum, partition) => sum + partition.appliedCount, 0);
  const untilApplied = (count: number) =>
    vi.waitUntil(async () => (await appliedCount()) >= count, { timeout: 180_000, interval: 20 });

  const bytesOf = async (encodingId: string, userId: string) => redis.getBuffer(keyOf({ encodingId }, userId));
  /** Returns a record without the id of its encoding, hexadecimal. */
  const contentOf = (bytes: Buffer | null) =>
    bytes ? Buffer.concat([bytes.subarray(0, 6), bytes.subarray(14)]).toString('hex') : '';

  /** Waits until all is applied, and compares the records of both encodings. */
  async function expectEqualRecords(users: readonly string[] = USERS): Promise<void> {
    const { encodingId: active, encodesWithHistory } = { ...e2e.bundle.model };
    for (const userId of users.filter((one) => one !== DELETED)) await e2e.untilApplied(userId, sent.get(userId) ?? 0);
    for (const userId of users) {
      // A record that was built after a removal has no trace of the event in its ring.
      const partOf = userId === FORGETFUL && !encodesWithHistory ? rowsOf : contentOf;
      await expect
        .poll(async () => partOf(await bytesOf(candidate.encodingId, userId)), { timeout: 60_000, message: userId })
        .toBe(partOf(await bytesOf(active, userId)));
    }
  }

  it('has the records of the active one, whatever dies meanwhile', async () => {
    await record(BEFORE);
    expect(await codeOf(ckv('backfill', 'start', '--bundle', candidate.id))).toBe(0);
    await record(EXPORTED - BEFORE);
    // The export: rows of all users in the order of time, over two files of different forms.
    const rows = Array.from({ length: EXPORTED }, (_, n) => USERS.map((userId) => eventOf(userId, n))).flat();
    const logs = [join(dir, 'one.csv'), join(dir, 'two.jsonl.gz')];
    const feature = e2e.bundle.model.manifest.features.interaction.map(({ name }) => name);
    writeFileSync(logs[0] ?? '', csvOf(rows.slice(0, rows.length / 2), feature));
    writeFileSync(logs[1] ?? '', gzipSync(jsonLinesOf(rows.slice(rows.length / 2))));

    let racing = true;
    // Each turn waits for the one before: traffic that takes the whole updater would leave no time to catch up.
    const live = (async () => {
      for (const userId = USERS[2] ?? ''; racing; await e2e.untilApplied(userId, sent.get(userId) ?? 0, 120_000)) {
        await record(1);
      }
    })();
    const run = () => ckv('backfill', '--bundle', candidate.id, '--log', ...logs);
    const [updater] = e2e.stack.services.updater;
    const [userCache] = e2e.stack.services['user-cache'];

    const first = run();
    await untilApplied(200);
    first.kill('SIGKILL');
    await once(first, 'exit');
    const done = codeOf(run());
    await untilApplied(500);
    await updater?.kill();
    await e2e.client.deleteUser(DELETED);
    await updater?.restart();
    await untilApplied(1_000);
    await userCache?.kill();
    // An older event of a record with history is not found: it would stay in the active records.
    const forgets = !e2e.bundle.model.encodesWithHistory;
    if (forgets)
      await e2e.client.forgetInteraction({
        ...eventOf(FORGETFUL, EXPORTED - 20),
        eventId: `${FORGETFUL}-${EXPORTED - 20}`,
      });
    await userCache?.restart();
    expect(await done).toBe(0);
    racing = false;
    await live;
    await record(20); // beyond the ring: what was applied late or twice before would be seen

    await expectEqualRecords();
    expect(await warming()).toBeUndefined();
  }, 600_000);

  it('has them again from the event log alone', async () => {
    expect(await codeOf(ckv('backfill', '--bundle', candidate.id, '--from-redis-stream', '--again'))).toBe(0);
    await record(20);
    await expectEqualRecords();
  }, 600_000);

  it('keeps complete records that a cancellation finds', async () => {
    expect(await refusalOf('backfill', 'cancel', '--bundle', candidate.id)).toMatch(
      /complete records since a backfill that ended at .*--force deletes/,
    );
    await expectEqualRecords();
  }, 600_000);

  it('counts nothing twice that waits in the queue as it begins, though an updater dies', async () => {
    expect(await codeOf(ckv('backfill', 'start', '--bundle', candidate.id, '--again'))).toBe(0);
    const updaters = e2e.stack.services.updater;
    for (const updater of updaters) await updater.kill();
    const producer = createInteractionProducer({
      client: redis,
      keyPrefix: 'ckv',
      partitionCount: PARTITIONS,
      maxWaitingJobs: 1_000_000,
    });
    const users = USERS.filter((userId) => userId !== DELETED);
    for (const userId of users) {
      const from = sent.get(userId) ?? 0;
      sent.set(userId, from + QUEUED);
      const events = Array.from({ length: QUEUED }, (_, i) => eventOf(userId, from + i)).map(completed);
      for (let at = 0; at < QUEUED; at += 5) await producer.enqueue(events.slice(at, at + 5));
    }
    const waitingCount = async () => {
      const counts = await waitingCounts(
        redis,
        'ckv',
        Array.from({ length: PARTITIONS }, (_, i) => i),
      );
      return counts.reduce((sum, count) => sum + count, 0);
    };
    const queuedJobs = await waitingCount();
    expect(queuedJobs).toBe((users.length * QUEUED) / 5);

    const most = Math.max(...sent.values());
    const rows = Array.from({ length: most }, (_, n) =>
      users
        .filter((userId) => n < (sent.get(userId) ?? 0) && !isForgotten(userId, n))
        .map((userId) => eventOf(userId, n)),
    ).flat();
    const log = join(dir, 'all.csv');
    const feature = e2e.bundle.model.manifest.features.interaction.map(({ name }) => name);
    writeFileSync(log, csvOf(rows, feature));
    const running = ckv('backfill', '--bundle', candidate.id, '--log', log);
    let text = '';
    running.stderr?.on('data', (chunk) => {
      text += chunk;
    });
    const done = codeOf(running);
    const [first, second] = updaters;
    await vi.waitUntil(() => text.includes('waiting until'), { timeout: 120_000, interval: 5 });
    await first?.restart();
    await vi.waitUntil(async () => (await waitingCount()) < queuedJobs / 2, { timeout: 120_000, interval: 5 });
    await first?.kill();
    expect(await appliedCount()).toBe(0); // the files wait for the queue
    await second?.restart();
    await first?.restart();
    expect(await done, text).toBe(0);
    await producer.close();
    await expectEqualRecords(users);
  }, 600_000);

  it('shows a backfill, and has no records after it was cancelled', async () => {
    expect(await codeOf(ckv('backfill', 'start', '--bundle', candidate.id, '--again'))).toBe(0);
    const status = ckv('backfill', 'status');
    let text = '';
    status.stdout?.on('data', (chunk) => {
      text += chunk;
    });
    expect(await codeOf(status)).toBe(0);
    expect(text).toMatch(new RegExp(`${candidate.encodingId}.*${candidate.id}.*files.*partitions: 16 armed`));
    expect(await codeOf(ckv('backfill', 'cancel', '--bundle', candidate.id))).toBe(0);
    expect(await warming()).toBeUndefined();
    const left = await Promise.all(USERS.map((userId) => bytesOf(candidate.encodingId, userId)));
    expect(left.filter((bytes) => bytes !== null)).toEqual([]);
  }, 600_000);

  it('lets no unfinished records serve, and can be cancelled after they did', async () => {
    expect(await codeOf(ckv('backfill', 'start', '--bundle', candidate.id, '--again'))).toBe(0);
    const unfinished = /the backfill of bundle \w+ is not complete \(partitions: 16 armed.*ckv backfill cancel/s;
    expect(await refusalOf('bundle', 'activate', candidate.id, '--force')).toMatch(unfinished);
    expect(await refusalOf('bundle', 'canary', candidate.id, '--share', '5%', '--force')).toMatch(unfinished);
    expect(await refusalOf('bundle', 'cancel', candidate.id)).toMatch(/end it first: "ckv backfill cancel/);

    await e2e.pool.call('Activate', { bundleId: candidate.id, force: true }); // as an older command does
    expect(await refusalOf('backfill', 'cancel', '--bundle', candidate.id)).toMatch(/make another bundle active first/);
    expect(await refusalOf('backfill', '--bundle', candidate.id, '--from-redis-stream')).toMatch(
      /from files is under way/,
    );
    expect(await codeOf(ckv('bundle', 'rollback'))).toBe(0);
    expect(await refusalOf('bundle', 'rollback')).toMatch(/no rollback is left/);
    expect(await refusalOf('bundle', 'activate', candidate.id, '--force')).toMatch(unfinished);
    expect(await codeOf(ckv('backfill', 'cancel', '--bundle', candidate.id))).toBe(0);
    expect(await warming()).toBeUndefined();
  }, 600_000);

  it('refuses a command that was stopped after its check, if the records have changed meanwhile', async () => {
    await e2e.pool.call('SetCandidate', { bundleId: candidate.id });
    for (const change of [['activate'], ['canary', '--share', '5%'], ['cancel']]) {
      // The command has looked at the pool, and waits behind a process with the claim.
      const claim = `token ${Date.now() + 3_600_000} another process`;
      await redis.hset('{ckv}:encoding-claims', candidate.encodingId, claim);
      const [name = '', ...options] = change;
      const force = name === 'cancel' ? [] : ['--force'];
      const stopped = ckv('bundle', name, candidate.id, ...options, ...force);
      let text = '';
      stopped.stderr?.on('data', (chunk) => {
        text += chunk;
      });
      const code = codeOf(stopped);
      await vi.waitUntil(() => text.includes('waiting until the claim'), { timeout: 60_000, interval: 5 });
      await e2e.pool.call('NoteRecordsChange', { encodingId: candidate.encodingId });
      // The first process has died: its claim ends 10 s after the command first finds it. The others give theirs back.
      if (name !== 'activate') await redis.hdel('{ckv}:encoding-claims', candidate.encodingId);
      expect(await code, text).toBe(1);
      expect(text).toMatch(/a backfill of it may have begun since/);
    }
    expect(await codeOf(ckv('bundle', 'cancel', candidate.id))).toBe(0);
  }, 600_000);

  it('leaves no bundle warm for a backfill that it refuses', async () => {
    const { actions } = parseManifest(readFileSync(join(source, 'bundle.json')));
    const third = copyBundle(source, join(dir, 'bundles', 'third'), { actions: [...actions, 'nor sent'] });
    const wrong = join(dir, 'wrong.csv');
    writeFileSync(wrong, 'user_id,item_id\nu,i\n');
    const isWarm = async () => {
      for await (const { bundleIds } of e2e.pool.stream('WatchBundles', {})) return bundleIds.includes(third.id);
    };
    for (const _ of ['unknown to the pool', 'loaded']) {
      expect(await refusalOf('backfill', '--bundle', 'third', '--log', wrong)).toContain('timestamp_ms');
      expect(await isWarm()).toBe(false);
    }
    expect(await codeOf(ckv('backfill', 'start', '--bundle', 'third'))).toBe(0);
    expect(await refusalOf('backfill', '--bundle', 'third', '--log', wrong)).toContain('timestamp_ms');
    expect(await isWarm()).toBe(true); // the backfill that is under way needs it
    expect(await codeOf(ckv('backfill', 'cancel', '--bundle', 'third'))).toBe(0);
    expect(await codeOf(ckv('bundle', 'cancel', 'third'))).toBe(0);
  }, 600_000);

  it('deletes records without a backfill by force alone', async () => {
    expect(await codeOf(ckv('bundle', 'warm', candidate.id))).toBe(0);
    await record(1);
    const userId = FORGETFUL;
    await expect.poll(() => bytesOf(candidate.encodingId, userId), { timeout: 60_000 }).not.toBeNull();
    expect(await refusalOf('backfill', 'cancel', '--bundle', candidate.id)).toMatch(/no backfill under way/);
    expect(await bytesOf(candidate.encodingId, userId)).not.toBeNull();
    expect(await codeOf(ckv('backfill', 'cancel', '--bundle', candidate.id, '--force'))).toBe(0);
    expect(await bytesOf(candidate.encodingId, userId)).toBeNull();
    expect(await codeOf(ckv('bundle', 'cancel', candidate.id))).toBe(0);
  }, 600_000);

  it('refuses the encoding of the active bundle', async () => {
    expect(await refusalOf('backfill', 'start', '--bundle', 'first')).toMatch(/if they are lost, "ckv bundle renew"/);
    expect(await warming()).toBeUndefined();
  }, 600_000);

  it('builds lost records of the active bundle anew, under a copy of it', async () => {
    const users = USERS.slice(3, 7);
    for (const userId of users) await redis.del(keyOf(e2e.bundle.model, userId));
    await record(5, users); // begins a new record without the others
    const [from, copy] = ['first', 'again'].map((name) => join(dir, 'bundles', name));
    expect(await codeOf(ckv('bundle', 'renew', from ?? '', copy ?? ''))).toBe(0);
    expect(await codeOf(ckv('backfill', 'start', '--bundle', 'again'))).toBe(0);
    await record(20, users); // beyond the ring
    const rows = users.flatMap((userId) => Array.from({ length: sent.get(userId) ?? 0 }, (_, n) => eventOf(userId, n)));
    const log = join(dir, 'lost.jsonl');
    writeFileSync(log, jsonLinesOf(rows));
    const done = codeOf(ckv('backfill', '--bundle', 'again', '--log', log));
    await record(20, users);
    expect(await done).toBe(0);
    await record(20, users);
    expect(await codeOf(ckv('bundle', 'activate', 'again', '--force'))).toBe(0);
    const { strideBytes } = e2e.bundle.model.layout;
    const { encodingId } = idsOf(copy ?? '');
    for (const userId of users) {
      const count = sent.get(userId) ?? 0;
      const read = async () => {
        const bytes = await bytesOf(encodingId, userId);
        return bytes ? decodeRecord(bytes, { encodingId, strideBytes }) : undefined;
      };
      await expect.poll(async () => (await read())?.lifetimeCount, { timeout: 60_000, message: userId }).toBe(count);
      const found = await read();
      if (!found) throw new Error(`${userId} has no record`);
      await e2e.expectRows(
        found,
        Array.from({ length: count }, (_, n) => eventOf(userId, n)),
      );
    }
  }, 600_000);
});

function completed(event: InteractionInput): Interaction {
  return { eventId: '', timestampMs: 1, action: '', features: {}, ...event } as Interaction;
}

/** Returns the rows of a record, hexadecimal: docs/wire-format.md has the layout. */
function rowsOf(bytes: Buffer | null): string {
  if (!bytes) return '';
  return bytes.subarray(30 + 6 * bytes.readUInt8(4)).toString('hex');
}

function idsOf(dir: string): { id: string; encodingId: string } {
  const bytes = readFileSync(join(dir, 'bundle.json'));
  return { id: bundleIdOf(bytes), encodingId: encodingIdOf(parseManifest(bytes)) };
}

function copyBundle(from: string, to: string, changes: object): { id: string; encodingId: string } {
  cpSync(from, to, { recursive: true });
  const path = join(to, 'bundle.json');
  const name = to.split('/').at(-1);
  const bytes = Buffer.from(JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...changes, name }));
  writeFileSync(path, bytes);
  return idsOf(to);
}

function csvOf(rows: readonly InteractionInput[], features: readonly string[]): string {
  const head = ['event_id', 'user_id', 'item_id', 'timestamp_ms', 'action', ...features];
  const lines = rows.map(({ eventId, userId, itemId, timestampMs, action, features: values = {} }) =>
    [eventId, userId, itemId, timestampMs, action ?? '', ...features.map((name) => values[name] ?? '')].join(','),
  );
  return `${[head.join(','), ...lines].join('\n')}\n`;
}

function jsonLinesOf(rows: readonly InteractionInput[]): string {
  const lines = rows.map(({ eventId, userId, itemId, timestampMs, action, features }) =>
    JSON.stringify({
      event_id: eventId,
      user_id: userId,
      item_id: itemId,
      timestamp_ms: timestampMs,
      action,
      ...features,
    }),
  );
  return `${lines.join('\n')}\n`;
}
