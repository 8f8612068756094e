import { createUserBatches, exactLength, powerOfTwo } from '@collectivekv/domain';
import type { GraphSet } from '@collectivekv/engine';
import type { OpenBundle } from './open-bundle.js';
import { elapsedMs, TIMED_USERS, type Timer, timeUsers, type UserTimes } from './time-users.js';

/** Most users of a graph run, as configured. `auto` leaves it to the device, and on the CPU to a measurement. */
export type BatchUsers = 'auto' | number;

/** How many users of a bundle may share a graph run. */
export interface JoinedUsers {
  /** Most users of a run. With 1, each has a run of its own. */
  readonly mostUsers: number;
  /** Why: there is no graph for more, the number is configured, or `auto` chose it. */
  readonly because: 'no_graph' | 'configured' | 'device' | 'measured';
  /** Undefined unless it was measured. */
  readonly times?: UserTimes | undefined;
}

/** Options of {@link joinUsers}. */
export interface JoinOptions {
  readonly batchUsers: BatchUsers;
  /** Where the graphs run; see Engine.device. */
  readonly device: string;
  /** Default: the steady clock. */
  readonly timer?: Timer;
}

/** Most users of a run that `auto` allows on a device. */
const DEVICE_USERS = 64;

/**
 * Bounds of a batch on the CPU. Its time grows with its padding. So `auto` joins users only if a batch without padding
 * takes at most 1 / 1.25 of the time of its users alone. Then it takes no longer with all padding.
 */
const CPU = { bucket: exactLength, mostPadding: 1.25, memoryBytes: 2 ** 28 };
/** Bounds of a batch on a device. Much of its time is a fixed cost. Shapes come again, because they are buckets. */
const DEVICE = { bucket: powerOfTwo, mostPadding: 2, memoryBytes: 2 ** 31 };
/** Memory for each cell and head: two float32 tensors of logits. */
const BYTES_PER_CELL = 8;

/**
 * Decides how many users may share a run of a bundle whose graphs are loaded, `rankBatch` among them, and lets the
 * engine join them. Frees `rankBatch` if a measurement decides against it.
 */
export async function joinUsers(bundle: OpenBundle, graphs: GraphSet, options: JoinOptions): Promise<JoinedUsers> {
  const { batchUsers, device, timer = elapsedMs } = options;
  const { manifest } = bundle.model;
  const { rankBatch } = manifest.graphs;
  if (!rankBatch) return { mostUsers: 1, because: 'no_graph' };
  const bounds = device === 'cpu' ? CPU : DEVICE;
  const mostCells = bounds.memoryBytes / BYTES_PER_CELL / manifest.heads;
  const batchesOf = (mostUsers: number) => createUserBatches(rankBatch, { ...bounds, mostUsers, mostCells });
  const join = (joined: JoinedUsers) => {
    graphs.joinRuns('rank', { graph: 'rankBatch', ...batchesOf(joined.mostUsers) });
    return joined;
  };
  if (batchUsers !== 'auto') return join({ mostUsers: batchUsers, because: 'configured' });
  if (device !== 'cpu') return join({ mostUsers: DEVICE_USERS, because: 'device' });
  const times = await timeUsers(bundle, graphs, batchesOf(TIMED_USERS), timer);
  if (times.batchMs * CPU.mostPadding <= times.singleMs) {
    return join({ mostUsers: TIMED_USERS, because: 'measured', times });
  }
  await graphs.drop('rankBatch');
  return { mostUsers: 1, because: 'measured', times };
}
