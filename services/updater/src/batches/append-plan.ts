import { type Interaction, RECENT_EVENT_RING } from '@collectivekv/domain';
import type { ErasureJob, InteractionJob, TakenJob } from '@collectivekv/update-queue';

/** A job and its checked payload. */
export interface ReadJob {
  readonly taken: TakenJob;
  readonly job: InteractionJob;
}

/** Interactions that are appended together. */
export interface AppendWave {
  readonly kind: 'append';
  /** By user, oldest first. A user has at most 14, the size of the ring. */
  readonly byUser: ReadonlyMap<string, readonly Interaction[]>;
  /** Jobs that have interactions in this wave. */
  readonly jobs: readonly ReadJob[];
  /** Jobs that are done after this wave. */
  readonly done: readonly ReadJob[];
  /** A job with further waves, and its progress after this wave. */
  readonly remember?: { readonly job: ReadJob; readonly progress: number };
}

/** A user or an interaction to erase. */
export interface EraseWave {
  readonly kind: 'erase';
  readonly taken: TakenJob;
  readonly job: ErasureJob;
}

/** One step of a partition's work. */
export type Wave = AppendWave | EraseWave;

/**
 * Cuts a partition's jobs, in order, into waves that can be repeated without harm. A record recognises an event only
 * while its ring of recent events holds the event. So a wave has at most 14 interactions of any user, the size of the
 * ring: if the whole wave is repeated, the record recognises every event. Small jobs share a wave. A job with more
 * interactions of one user is cut into waves and remembers how many of them are done.
 */
export function planWaves(jobs: readonly ReadJob[]): Wave[] {
  const waves: Wave[] = [];
  let group: ReadJob[] = [];
  let counts = new Map<string, number>();
  const flush = () => {
    if (group.length > 0) waves.push({ kind: 'append', byUser: byUserOf(group), jobs: group, done: group });
    group = [];
    counts = new Map();
  };
  for (const read of jobs) {
    const { taken, job } = read;
    if (job.kind !== 'record') {
      flush();
      waves.push({ kind: 'erase', taken, job });
      continue;
    }
    const own = countByUser(job.interactions);
    if (Math.max(...own.values()) > RECENT_EVENT_RING) {
      flush();
      waves.push(...wavesOf(read, job.interactions));
      continue;
    }
    if ([...own].some(([userId, count]) => (counts.get(userId) ?? 0) + count > RECENT_EVENT_RING)) flush();
    for (const [userId, count] of own) counts.set(userId, (counts.get(userId) ?? 0) + count);
    group.push(read);
  }
  flush();
  return waves;
}

function wavesOf(read: ReadJob, interactions: readonly Interaction[]): AppendWave[] {
  const byUser = groupByUser(interactions);
  const waveCount = Math.ceil(Math.max(...[...byUser.values()].map((list) => list.length)) / RECENT_EVENT_RING);
  const waves: AppendWave[] = [];
  for (let wave = read.taken.progress; wave < waveCount; wave++) {
    const [from, to] = [wave * RECENT_EVENT_RING, (wave + 1) * RECENT_EVENT_RING];
    const part = [...byUser].map(([userId, list]) => [userId, list.slice(from, to)] as const);
    const last = wave === waveCount - 1;
    waves.push({
      kind: 'append',
      byUser: new Map(part.filter(([, list]) => list.length > 0)),
      jobs: [read],
      done: last ? [read] : [],
      ...(last ? {} : { remember: { job: read, progress: wave + 1 } }),
    });
  }
  // The former consumer died after the last wave: the job only has to be completed.
  if (waves.length === 0) waves.push({ kind: 'append', byUser: new Map(), jobs: [read], done: [read] });
  return waves;
}

function byUserOf(jobs: readonly ReadJob[]): Map<string, Interaction[]> {
  return groupByUser(jobs.flatMap(({ job }) => (job.kind === 'record' ? job.interactions : [])));
}

function groupByUser(interactions: readonly Interaction[]): Map<string, Interaction[]> {
  const groups = new Map<string, Interaction[]>();
  for (const interaction of interactions) {
    const group = groups.get(interaction.userId);
    if (group) group.push(interaction);
    else groups.set(interaction.userId, [interaction]);
  }
  return groups;
}

function countByUser(interactions: readonly Interaction[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { userId } of interactions) counts.set(userId, (counts.get(userId) ?? 0) + 1);
  return counts;
}
