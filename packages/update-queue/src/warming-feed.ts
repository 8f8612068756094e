import { RECENT_EVENT_RING } from '@collectivekv/domain';
import type { RedisClient } from '@collectivekv/redis-connection';
import { reachingRedis } from '@collectivekv/redis-connection';
import { type LoggedEvent, readEntry } from './event-log.js';
import { OpeningOver } from './job-scripts.js';
import type { PartitionTerm } from './lease-table.js';
import { readScript } from './lua-script.js';
import { eventLogKey, leaseKeys, warmingKeys, warmingsKey } from './queue-names.js';
import type { ErasureSubject } from './strip-job.js';

/**
 * How far a partition is with an encoding whose records are being built:
 *
 * - `begun`: the partition's updater does not know of it yet.
 * - `armed`: live interactions go to the event log, and not to the records of the encoding. Nothing is applied yet.
 * - `files`: rows of its files are applied.
 * - `log`: entries of the event log are applied.
 * - `live`: every interaction has been applied. Live interactions are appended as for any other encoding. If an updater
 *   gets the partition that cannot write the records, the phase is `log` again.
 * - `overrun`: the event log dropped entries that were not applied yet. The warming must begin again.
 */
export type WarmingPhase = 'begun' | 'armed' | 'files' | 'log' | 'live' | 'overrun';

/**
 * A stretch of a stream with at most 14 interactions of any user, the size of a record's ring. A record recognises all
 * of them if the stretch is applied again, as a whole or cut elsewhere.
 */
export interface WarmingWave {
  /** Id of its last entry. */
  readonly lastId: string;
  /** The interactions to apply, in order. */
  readonly events: readonly LoggedEvent[];
  /** Users whose interactions in the files end here: the event log has the others. */
  readonly cutUsers: readonly string[];
}

/** The next interactions to apply to the records of an encoding. */
export interface WarmingBatch {
  readonly encodingId: string;
  readonly phase: 'files' | 'log';
  /** What was read, in order; empty if nothing is left. */
  readonly waves: readonly WarmingWave[];
  /** Entries that were read: some may be left out. */
  readonly entryCount: number;
  /** Entries that are no interactions; they are left out. */
  readonly unreadableCount: number;
  /** Time between the first entry of the batch and the newest entry of its stream, ms. */
  readonly lagMs: number;
}

/**
 * The encodings that are being warmed in one partition, for one opening of it. Only the holder of the lease moves them
 * on. Every method throws conflict if the term is over or the partition was opened again.
 */
export interface WarmingFeed {
  /**
   * Reads which encodings are being warmed. Call it before the first batch of an opening, and with no batch in hand.
   * @param arms arms the encodings that were begun; only if no append can be late
   * @param writable the encodings whose records the caller can write. One that is live, and not among them, goes back to
   * the phase `log`
   * @returns the version of what is being warmed, and whether an encoding is left to be armed
   */
  arm(arms: boolean, writable: readonly string[]): Promise<{ readonly version: number; readonly begun: boolean }>;
  /** Returns the encodings that are not live, as {@link arm} saw them: their records get nothing but from `read`. */
  pending(): ReadonlySet<string>;
  /** Reads the next batch of an encoding; undefined if there is nothing to apply in its phase. */
  read(encodingId: string, maxCount: number): Promise<WarmingBatch | undefined>;
  /** Notes that a wave of a batch is done, and those before it. What comes next is read behind it. */
  complete(batch: WarmingBatch, wave: WarmingWave): Promise<void>;
  /** Begins the next phase if a batch was empty. Does nothing if something has come since. */
  nextPhase(batch: WarmingBatch): Promise<void>;
  /** Leaves the subject out of everything that is applied later. Returns the encodings that are being warmed. */
  erase(subject: ErasureSubject): Promise<readonly string[]>;
}

type Arg = string | number;
type ReadEntry = [id: string, userId: string, eventId: string, rest: string, advice: 'keep' | 'drop' | 'cut'];

interface Commands {
  ckvArmPartition(...args: Arg[]): Promise<[version: number, ...encodingsAndPhases: string[]] | null>;
  ckvReadWarming(...args: Arg[]): Promise<[phase: string, newestMs: number, ...entries: ReadEntry[]]>;
  ckvAdvanceWarming(...args: Arg[]): Promise<string | null>;
  ckvMarkErasure(...args: Arg[]): Promise<string[] | null>;
}

const SCRIPTS = {
  ckvArmPartition: readScript('arm-partition-5.lua'),
  ckvReadWarming: readScript('read-warming-4.lua'),
  ckvAdvanceWarming: readScript('advance-warming-6.lua'),
  ckvMarkErasure: readScript('mark-erasure-3.lua'),
} as const satisfies Record<keyof Commands, unknown>;

/** Opens the feed of a partition. */
export function openWarmingFeed(options: {
  readonly client: RedisClient;
  readonly keyPrefix: string;
  readonly term: PartitionTerm;
  readonly token: string;
}): WarmingFeed {
  const { client, keyPrefix, term, token } = options;
  for (const [name, script] of Object.entries(SCRIPTS)) client.defineCommand(name, script);
  const commands = client as unknown as Commands;
  const { leases, terms } = leaseKeys(keyPrefix);
  const { states, files, marksPrefix } = warmingKeys(keyPrefix, term.partition);
  const log = eventLogKey(keyPrefix, term.partition);
  const holder = [term.partition, term.member, term.term, token];
  let pending: ReadonlySet<string> = new Set();

  const held = <T>(call: () => Promise<T | null>): Promise<T> =>
    reachingRedis(async () => {
      const answer = await call();
      if (answer === null) throw new OpeningOver(term);
      return answer;
    });

  async function advance({ encodingId, phase }: WarmingBatch, step: string, ...rest: Arg[]): Promise<void> {
    const keys = [states, log, files(encodingId), marksPrefix + encodingId, leases, terms];
    const now = await held(() => commands.ckvAdvanceWarming(...keys, ...holder, encodingId, phase, step, ...rest));
    if (now === 'live') pending = new Set([...pending].filter((id) => id !== encodingId));
  }

  return {
    async arm(arms, writable) {
      const keys = [warmingsKey(keyPrefix), states, log, leases, terms];
      const [version, ...flat] = await held(() =>
        commands.ckvArmPartition(...keys, ...holder, arms ? 1 : 0, ...writable),
      );
      const phases = new Map<string, string>();
      for (let i = 0; i < flat.length; i += 2) phases.set(flat[i] ?? '', flat[i + 1] ?? '');
      pending = new Set([...phases].filter(([, phase]) => phase !== 'live').map(([encodingId]) => encodingId));
      return { version, begun: [...phases.values()].includes('begun') };
    },
    pending: () => pending,
    async read(encodingId, maxCount) {
      const keys = [states, log, files(encodingId), marksPrefix + encodingId];
      const [phase, newestMs, ...entries] = await reachingRedis(() =>
        commands.ckvReadWarming(...keys, encodingId, maxCount),
      );
      if (phase !== 'files' && phase !== 'log') return undefined;
      const { waves, unreadableCount } = wavesOf(entries);
      const lagMs = entries[0] ? Math.max(0, newestMs - Number(entries[0][0].split('-')[0])) : 0;
      return { encodingId, phase, waves, entryCount: entries.length, unreadableCount, lagMs };
    },
    complete: (batch, { lastId, events, cutUsers }) => advance(batch, 'wave', lastId, events.length, ...cutUsers),
    nextPhase: (batch) => advance(batch, 'phase'),
    erase: ({ userId, eventId = '' }) =>
      held(() => commands.ckvMarkErasure(states, leases, terms, ...holder, marksPrefix, userId, eventId)),
  };
}

/** Cuts entries into waves. */
function wavesOf(entries: readonly ReadEntry[]): { waves: WarmingWave[]; unreadableCount: number } {
  const waves: { lastId: string; events: LoggedEvent[]; cutUsers: string[] }[] = [];
  const cut = new Set<string>();
  let counts = new Map<string, number>();
  let unreadableCount = 0;
  for (const [id, userId, eventId, rest, advice] of entries) {
    const isKept = advice === 'keep' && !cut.has(userId);
    const interaction = isKept ? readEntry(userId, eventId, rest) : undefined;
    if (isKept && !interaction) unreadableCount++;
    let wave = waves.at(-1);
    if (!wave || (interaction && counts.get(userId) === RECENT_EVENT_RING)) {
      wave = { lastId: id, events: [], cutUsers: [] };
      waves.push(wave);
      counts = new Map();
    }
    wave.lastId = id;
    if (advice === 'cut' && !cut.has(userId)) {
      cut.add(userId);
      wave.cutUsers.push(userId);
    }
    if (!interaction) continue;
    counts.set(userId, (counts.get(userId) ?? 0) + 1);
    wave.events.push({ id, interaction });
  }
  return { waves, unreadableCount };
}
