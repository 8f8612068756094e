import { join } from 'node:path';
import { openBundle } from '@collectivekv/bundles';
import { type CollectiveKvClient, createCollectiveKvClient, type Ranking } from '@collectivekv/client';
import { type ServiceProcess, type Stack, startStack } from '@collectivekv/dev-stack';
import type { BundleModel } from '@collectivekv/domain';
import type { UserStore } from '@collectivekv/user-store';
import { type BenchBundle, candidatesOf, recordOf } from './workload.js';

/** A bundle served by our services, to be put under load. */
export interface Arm extends Served {
  /** The same services, asked with one gRPC call per request instead of shared streams. */
  readonly unary: Served;
}

/** Services that answer rank requests, and a way to ask them. */
export interface Served {
  readonly name: string;
  readonly model: BundleModel;
  readonly stack: Stack;
  /** The services that a rank request passes through. */
  readonly services: readonly ServiceProcess[];
  /** Stores the records of all users with histories of this length. */
  hold(positions: number): Promise<void>;
  /**
   * Ranks for user number `user` with this length, by default for the next one. Throws if the answer does not use the
   * whole history.
   */
  rank(positions: number, candidates: number, user?: number): Promise<Ranking>;
  close(): Promise<void>;
}

/** Options of {@link startArm}. */
export interface ArmOptions {
  readonly name: string;
  readonly bundle: BenchBundle;
  /** Folder of all files that the arm writes. */
  readonly dir: string;
  readonly redisUrl: string;
  readonly store: UserStore;
  /** Number of updaters; default 0. */
  readonly updaters?: number;
  /** Environment variables of ranking that differ from the defaults. */
  readonly ranking?: Readonly<Record<string, string>>;
  /** Folder of the pool's bundles; default: the bundle alone. */
  readonly bundlesDir?: string;
  /** Environment variables of the pool that differ from the defaults. */
  readonly pool?: Readonly<Record<string, string>>;
}

/** Number of ranking's worker threads, and of bare graphs. */
export const WORKERS = 2;
/** Users with the same length take turns. No request then finds the record that the request before just read. */
const MAX_USERS = 64;
const MAX_RECORD_BYTES = 32e6;
const MAX_ENCODED_POSITIONS = 200_000;
/** Enough for a record of 20 MB on a busy machine. */
const TIMEOUT_MS = 60_000;

/** Starts the services with a bundle. */
export async function startArm(options: ArmOptions): Promise<Arm> {
  const { name, bundle, dir, redisUrl, store, updaters = 0, ranking = {}, pool = {} } = options;
  const { model } = await openBundle(bundle.dir);
  const stack = await startStack({
    dir: join(dir, name),
    bundlesDir: options.bundlesDir ?? bundle.dir,
    redisUrl,
    replicas: { updater: updaters },
    env: {
      pool,
      ranking: { CKV_WORKERS: String(WORKERS), CKV_FETCH_TIMEOUT_MS: String(TIMEOUT_MS), ...ranking },
    },
  });
  const access = { rankingTarget: stack.targets.ranking, rankTimeoutMs: TIMEOUT_MS, maxAttempts: 1 };
  const client = createCollectiveKvClient(access);
  const unaryClient = createCollectiveKvClient({ ...access, rankStreams: false });
  const turns = turnsOf(model, name);
  const rankWith = (which: CollectiveKvClient): Served['rank'] => {
    const rankOnce = rankerOf(model, which);
    return (positions, candidates, user) => {
      const userId = user === undefined ? turns.next(positions) : turns.user(positions, user);
      return rankOnce(userId, positions, candidates);
    };
  };
  const held = new Set<number>();

  const arm = {
    name,
    model,
    stack,
    services: stack.services.ranking, // it reads records directly from Redis
    async hold(positions: number) {
      if (held.has(positions)) return;
      held.add(positions);
      const users = turns.users(positions);
      const all = await bundle.histories(positions, users.length);
      for (const [i, rows] of all.entries()) {
        await store.replaceRecord(model.encodingId, users[i] ?? '', recordOf(model, rows));
      }
    },
    rank: rankWith(client),
    async close() {
      client.close();
      unaryClient.close();
      await stack.stop();
    },
  };
  return { ...arm, unary: { ...arm, name: `${name}, unary`, rank: rankWith(unaryClient) } };
}

/** Returns the number of users who take turns, by the length of their histories. */
export function usersAt(positions: number, strideBytes: number): number {
  const most = Math.min(MAX_RECORD_BYTES / (positions * strideBytes), MAX_ENCODED_POSITIONS / positions);
  return Math.max(1, Math.min(MAX_USERS, Math.floor(most)));
}

function rankerOf(model: BundleModel, client: CollectiveKvClient) {
  const idsOf = new Map<number, readonly string[]>();
  return async (userId: string, positions: number, count: number): Promise<Ranking> => {
    const candidateIds = idsOf.get(count) ?? candidatesOf(model, count).ids;
    idsOf.set(count, candidateIds);
    const ranking = await client.rank({ userId, candidateIds, history: 'required' });
    const { rung, positionCount } = ranking.info;
    if (rung !== 'full' || positionCount !== positions) {
      throw new Error(`the answer used ${positionCount} of ${positions} positions, rung ${rung}`);
    }
    return ranking;
  };
}

function turnsOf({ layout }: BundleModel, name: string) {
  const taken = new Map<number, number>();
  const user = (positions: number, i: number) => `${name}-${positions}-${i}`;
  const countOf = (positions: number) => usersAt(positions, layout.strideBytes);
  return {
    user,
    users: (positions: number) => Array.from({ length: countOf(positions) }, (_, i) => user(positions, i)),
    next(positions: number) {
      const turn = taken.get(positions) ?? 0;
      taken.set(positions, turn + 1);
      return user(positions, turn % countOf(positions));
    },
  };
}
