import type { InteractionInput } from '@collectivekv/client';
import type { BundleModel } from '@collectivekv/domain';
import { createFeedSimulator, type SimulatedUser } from '@collectivekv/feed-simulator';
import { type InteractionLog, LOG_COLUMNS, openInteractionLog } from '@collectivekv/interaction-log';

/** A rank request for a user, with its labels. */
export interface RankCase {
  readonly userId: string;
  readonly candidateIds: readonly string[];
  readonly candidateFeatures: Readonly<Record<string, readonly number[]>>;
  readonly contextFeatures: Readonly<Record<string, number>>;
  /** The user's reactions, one per candidate. Undefined in a replay, which does not know them. */
  readonly labels: readonly number[] | undefined;
}

/** The source of the quickstart's interactions. */
export interface QuickstartFeed {
  /**
   * Reads the whole feed once, before anything starts. `onProgress` takes messages; with `update`, one that replaces
   * the previous one.
   * @throws LogError with all problems of a log
   */
  check(onProgress: (message: string, update?: boolean) => void): Promise<void>;
  /** Yields the interactions to stream first, in order. Each batch is one call. */
  history(): AsyncIterable<readonly InteractionInput[]>;
  /** Number of interactions of the history. A replay knows it after its check. */
  historyCount(): number;
  /** Returns the i-th rank request. Requests take the users in turn. */
  rankCase(i: number): RankCase;
  /** Returns the next interactions of the same user. Changes the feed. */
  nextInteractions(i: number): readonly InteractionInput[];
}

const BATCH = 1_000;
const CANDIDATES = 200;
const SESSION = 25;
const ROWS_A_MESSAGE = 100_000;
const HOUR_MS = 3_600_000;

/** Creates a simulated feed: sessions of all users up to now, oldest first. */
export function simulatedFeed(options: { seed: number; users: number; positions: number }): QuickstartFeed {
  const simulator = createFeedSimulator({ seed: options.seed });
  const users = Array.from({ length: options.users }, (_, index) => simulator.user(index));
  const rounds = Math.ceil(options.positions / SESSION);
  const userAt = (i: number) => users[i % users.length] as SimulatedUser;
  const expose = (user: SimulatedUser, count: number, nowMs: number): InteractionInput[] =>
    user.expose(count, nowMs).map(({ userId, itemId, timestampMs, action, watchRatio }) => ({
      userId,
      itemId,
      timestampMs,
      action,
      features: { watch_ratio: watchRatio },
    }));

  return {
    async check() {},
    historyCount: () => options.users * options.positions,
    async *history() {
      const startMs = Date.now() - rounds * 12 * HOUR_MS;
      let batch: InteractionInput[] = [];
      for (let round = 0; round < rounds; round++) {
        const count = Math.min(SESSION, options.positions - round * SESSION);
        for (const user of users) {
          batch.push(...expose(user, count, startMs + round * 12 * HOUR_MS));
          if (batch.length + SESSION <= BATCH) continue;
          yield batch;
          batch = [];
        }
      }
      if (batch.length > 0) yield batch;
    },
    rankCase(i) {
      const nowMs = Date.now();
      const candidates = userAt(i).candidates(CANDIDATES, nowMs);
      return {
        userId: userAt(i).userId,
        candidateIds: candidates.map(({ itemId }) => itemId),
        candidateFeatures: { freshness: candidates.map(({ freshness }) => freshness) },
        contextFeatures: { hour: (nowMs / HOUR_MS) % 24 },
        labels: candidates.map(({ label }) => label),
      };
    },
    nextInteractions: (i) => expose(userAt(i), 5, Date.now()),
  };
}

/** Creates a feed that replays an interaction log in the order of the file. */
export function replayedFeed(options: {
  file: string;
  columns: Readonly<Record<string, string>>;
  model: BundleModel;
}): QuickstartFeed {
  const features = options.model.manifest.features.interaction.map(({ name }) => name);
  const users = new Map<string, number>(); // user id -> newest interaction, Unix ms
  const items = new Set<string>();
  let userIds: string[] = [];
  let itemIds: string[] = [];
  let log: InteractionLog | undefined;
  let next = 0;
  const userAt = (i: number) => userIds[(i * 7_919) % userIds.length] ?? ''; // users from all over the file

  return {
    async check(onProgress) {
      checkColumns(options.columns, features);
      let saidAt = 0;
      const onRows = (count: number) => {
        if (count - saidAt < ROWS_A_MESSAGE) return;
        saidAt = count;
        onProgress(`checked ${count.toLocaleString('en')} rows of ${options.file}`, true);
      };
      log = await openInteractionLog({ ...options, features, onRows });
      if (log.repeatedCount > 0) {
        const count = log.repeatedCount.toLocaleString('en');
        const rows = log.repeatedCount === 1 ? 'row that repeats' : 'rows that repeat';
        onProgress(`left out ${count} ${rows} an earlier event of the same user`);
      }
    },
    historyCount: () => log?.rowCount ?? 0,
    async *history() {
      let batch: InteractionInput[] = [];
      for await (const interaction of log?.rows() ?? []) {
        users.set(interaction.userId, Math.max(users.get(interaction.userId) ?? 0, interaction.timestampMs));
        items.add(interaction.itemId);
        batch.push(interaction);
        if (batch.length < BATCH) continue;
        yield batch;
        batch = [];
      }
      if (batch.length > 0) yield batch;
      userIds = [...users.keys()];
      itemIds = [...items];
    },
    rankCase(i) {
      const count = Math.min(CANDIDATES, itemIds.length);
      return {
        userId: userAt(i),
        candidateIds: Array.from({ length: count }, (_, j) => itemIds[(i * 31 + j) % itemIds.length] ?? ''),
        candidateFeatures: {},
        contextFeatures: {},
        labels: undefined,
      };
    },
    nextInteractions(i) {
      const userId = userAt(i);
      const timestampMs = Math.max(Date.now(), (users.get(userId) ?? 0) + 1);
      users.set(userId, timestampMs);
      return [{ userId, itemId: itemIds[++next % itemIds.length] ?? '', timestampMs }];
    },
  };
}

/** @throws Error naming a column that is neither one of a log nor a feature of the bundle */
function checkColumns(columns: Readonly<Record<string, string>>, features: readonly string[]): void {
  const known: readonly string[] = [...LOG_COLUMNS, ...features];
  const unknown = Object.keys(columns).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new Error(`--columns: ${unknown} is neither a column of a log nor a feature; these are ${known.join(', ')}`);
}
