import type { Interaction } from '@collectivekv/domain';
import { openInteractionLog } from '@collectivekv/interaction-log';

/** Interactions of real users, or of simulated ones: what a model was trained on. */
export interface RealLog {
  /**
   * Returns the newest `positions` interactions of user number `i`, oldest first. If no user has as many, the histories
   * of several users are joined in the order of time.
   * @throws Error if the whole log has fewer
   */
  history(positions: number, i: number): Interaction[];
  /** Returns interactions of the log as new events of `users` users in turn. Event ids contain the seed. */
  events(count: number, options: { readonly users: number; readonly seed: number }): Interaction[];
}

const FIRST_EVENT_MS = 1_700_000_000_000;

/**
 * Reads a log whose rows are in the order of time.
 * @param features names of the bundle's interaction features
 */
export async function readRealLog(file: string, features: readonly string[]): Promise<RealLog> {
  const all: Interaction[] = [];
  const log = await openInteractionLog({ file, columns: {}, features });
  for await (const one of log.rows()) all.push(one);
  return realLogOf(all);
}

/** Returns the log of these interactions, in the order of time. */
export function realLogOf(all: readonly Interaction[]): RealLog {
  const byUser = new Map<string, Interaction[]>();
  for (const one of all) {
    const own = byUser.get(one.userId);
    if (own) own.push(one);
    else byUser.set(one.userId, [one]);
  }
  const histories = [...byUser.values()].sort((a, b) => b.length - a.length);
  return {
    history(positions, i) {
      const long = histories.filter(({ length }) => length >= positions);
      const own = long[i % Math.max(1, long.length)];
      return (own ?? joined(histories, positions, i)).slice(-positions);
    },
    events: (count, { users, seed }) =>
      Array.from({ length: count }, (_, i) => ({
        ...(all[(seed * count + i) % all.length] as Interaction),
        eventId: `bench-${seed}-${i}`,
        userId: `bench-${i % users}`,
        timestampMs: FIRST_EVENT_MS + i,
      })),
  };
}

/** Returns at least `positions` interactions, by time: whole histories of users that follow each other in the list. */
function joined(histories: readonly Interaction[][], positions: number, i: number): Interaction[] {
  const most = histories[0]?.length ?? 0;
  const first = i * Math.ceil(positions / Math.max(1, most));
  const found: Interaction[] = [];
  for (let used = 0; used < histories.length; used++) {
    found.push(...(histories[(first + used) % histories.length] ?? []));
    if (found.length >= positions) return found.sort((a, b) => a.timestampMs - b.timestampMs);
  }
  throw new Error(`the log has ${found.length} interactions, ${positions} are needed; give smaller --lengths`);
}
