import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { openBundle, readServedGolden, type ServedCase } from '@collectivekv/bundles';
import { type CollectiveKvClient, createCollectiveKvClient } from '@collectivekv/client';
import { SERVICE_NAMES, type ServiceProcessName, type Stack, startStack } from '@collectivekv/dev-stack';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import { Client, credentials } from '@grpc/grpc-js';

/** Running services that take malformed input, and a user whose answers are known. */
export interface ServicesUnderFuzz {
  readonly stack: Stack;
  readonly encodingId: string;
  readonly strideBytes: number;
  readonly redis: RedisClient;
  readonly kv: CollectiveKvClient;
  readonly userCache: GrpcClient<'UserCacheService'>;
  readonly clients: Readonly<Record<ServiceProcessName, Client>>;
  /** The record of the known user. */
  readonly record: Buffer;
  /** Ranks and reads the known user. Throws if an answer differs in one bit, or a process has ended. */
  stillRight(): Promise<void>;
  /** Returns the text of all logs. */
  logs(): Promise<string>;
  close(): Promise<void>;
}

const require = createRequire(import.meta.url);
const GARBAGE_HOOK = pathToFileURL(require.resolve('@collectivekv/test-fuzz/collect-garbage')).href;
/** Largest difference from PyTorch's scores. */
const TOLERANCE = 1e-4;

/**
 * Starts a stack, and records the history of one of the bundle's golden requests.
 * @throws Error if the scores are not PyTorch's
 */
export async function startServices(bundleDir: string): Promise<ServicesUnderFuzz> {
  const dir = await mkdtemp(join(tmpdir(), 'ckv-fuzz-'));
  const hook = { NODE_OPTIONS: `--import=${GARBAGE_HOOK}`, CKV_LOG_LEVEL: 'debug' };
  const env = Object.fromEntries(SERVICE_NAMES.map((name) => [name, hook]));
  const stack = await startStack({ dir, bundlesDir: bundleDir, env });
  let ended: unknown;
  stack.failure.catch((error) => {
    ended = error;
  });
  const bundle = await openBundle(bundleDir);
  const { model } = bundle;
  const golden = (await readServedGolden(bundle)).find(({ interactions }) => interactions.length > 10);
  if (!golden) throw new Error(`${bundleDir} has no golden request with a history`);
  const userId = `known-${process.pid}-${Date.now()}`;
  const kv = createCollectiveKvClient({
    rankingTarget: stack.targets.ranking,
    interactionTarget: stack.targets.updater,
    rankTimeoutMs: 10_000,
    recordTimeoutMs: 30_000,
  });
  const redis = await connectedRedis(stack.redisUrl, { field: 'url', name: 'fuzz', whenAway: 'wait' });
  const userCache = createGrpcClient('UserCacheService', stack.targets['user-cache']);
  const clients = Object.fromEntries(
    SERVICE_NAMES.map((name) => [name, new Client(stack.targets[name], credentials.createInsecure())]),
  ) as Record<ServiceProcessName, Client>;

  const rank = async () => {
    const { candidateIds, candidateFeatures, contextFeatures } = golden;
    const { scores, info } = await kv.rank({ userId, candidateIds, candidateFeatures, contextFeatures });
    return { scores: [...scores], rung: info.rung, positions: info.positionCount };
  };
  const readRecord = async () => {
    const { records } = await userCache.call('GetRecords', { encodingId: model.encodingId, userIds: [userId] });
    return Buffer.from(records[0] ?? []);
  };
  await kv.recordInteractions(golden.interactions.map((one, i) => ({ ...one, userId, eventId: `${userId}-${i}` })));
  const expected = await untilRecorded(rank, golden);
  const record = await readRecord();

  return {
    stack,
    encodingId: model.encodingId,
    strideBytes: model.layout.strideBytes,
    redis,
    kv,
    userCache,
    clients,
    record,
    async stillRight() {
      if (ended) throw ended;
      const [answer, bytes] = await Promise.all([rank(), readRecord()]);
      const wrong = answer.scores.findIndex((score, i) => score !== expected.scores[i]);
      if (wrong >= 0)
        throw new Error(`wrong answer: score ${wrong} is ${answer.scores[wrong]}, not ${expected.scores[wrong]}`);
      if (answer.rung !== 'full') throw new Error(`wrong answer: the rung is ${answer.rung}`);
      if (!bytes.equals(record)) throw new Error('wrong answer: the record of the known user has changed');
    },
    async logs() {
      const texts = await Promise.all(
        SERVICE_NAMES.map((name) => readFile(join(dir, 'logs', `${name}-0.log`), 'utf8')),
      );
      return texts.join('\n');
    },
    async close() {
      for (const client of Object.values(clients)) client.close();
      kv.close();
      userCache.close();
      closeRedis(redis);
      await stack.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Ranks until the whole history counts. Throws if the scores are not PyTorch's then. */
async function untilRecorded<A extends { readonly scores: readonly number[]; readonly positions: number }>(
  rank: () => Promise<A>,
  { interactions, scores }: ServedCase,
): Promise<A> {
  const deadlineMs = Date.now() + 30_000;
  for (;;) {
    const answer = await rank();
    if (answer.positions < interactions.length && Date.now() < deadlineMs) continue;
    const wrong = scores.findIndex((score, i) => !(Math.abs(score - (answer.scores[i] ?? Number.NaN)) <= TOLERANCE));
    if (wrong < 0) return answer;
    throw new Error(`score ${wrong} is ${answer.scores[wrong]}, PyTorch gave ${scores[wrong]}`);
  }
}
