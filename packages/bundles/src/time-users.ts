import { CkvError, type Tensors, type UserBatches } from '@collectivekv/domain';
import type { GraphSet } from '@collectivekv/engine';
import { readGolden } from './golden.js';
import type { OpenBundle } from './open-bundle.js';

/** Users that are timed. */
export const TIMED_USERS = 8;

/** Both ways are timed so often, in turn. The shortest times count, because something disturbed the others. */
const ROUNDS = 5;
/** Requests for other bundles pass. */
const BACKGROUND = { background: true };

/** How long {@link TIMED_USERS} users took, ms. */
export interface UserTimes {
  /** Each in a run of the graph `rank`. */
  readonly singleMs: number;
  /** All in one run of the graph `rankBatch`. */
  readonly batchMs: number;
}

/** Returns the time that work takes, ms. */
export type Timer = (work: () => Promise<unknown>) => Promise<number>;

/** A timer by the steady clock. */
export const elapsedMs: Timer = async (work) => {
  const begunMs = performance.now();
  await work();
  return performance.now() - begunMs;
};

/** Times equal users, by the largest golden vector of the graph `rank`: alone, and in a batch. */
export async function timeUsers(
  bundle: OpenBundle,
  graphs: Pick<GraphSet, 'run'>,
  batches: Pick<UserBatches, 'join' | 'split'>,
  timer: Timer,
): Promise<UserTimes> {
  const golden = await largestRank(bundle);
  let [singleMs, batchMs] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < ROUNDS; round++) {
    const users = Array.from({ length: TIMED_USERS }, () => structuredClone(golden)); // a run may take its feeds away
    const batch = async () => {
      batches.split(await graphs.run('rankBatch', batches.join(users), BACKGROUND), users);
    };
    batchMs = Math.min(batchMs, await timer(batch));
    const singles = () => Promise.all(users.map((feeds) => graphs.run('rank', feeds, BACKGROUND)));
    singleMs = Math.min(singleMs, await timer(singles));
  }
  return { singleMs, batchMs };
}

/** Returns the inputs of the golden vector of the graph `rank` that has the most numbers. */
async function largestRank(bundle: OpenBundle): Promise<Tensors> {
  const sizeOf = (inputs: Tensors) => Object.values(inputs).reduce((sum, { data }) => sum + data.length, 0);
  const [largest] = (await readGolden(bundle))
    .flatMap(({ graph, inputs }) => (graph === 'rank' ? [inputs] : []))
    .sort((a, b) => sizeOf(b) - sizeOf(a));
  if (!largest) throw new CkvError('bundle_invalid', 'golden: rank has no golden vector; export the bundle again');
  return largest;
}
