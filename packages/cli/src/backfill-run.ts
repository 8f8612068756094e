import { setTimeout as sleep } from 'node:timers/promises';
import { CkvError, type Interaction } from '@collectivekv/domain';
import type { EncodingClaim, Warming, WarmingPhase, WarmingPlan, Warmings } from '@collectivekv/update-queue';
import type { BackfillFiles } from './backfill-files.js';

/** Parts of {@link runBackfill}. */
export interface BackfillParts {
  readonly warmings: Warmings;
  /** The claim on the encoding. Every step that changes something needs it. */
  readonly claim: EncodingClaim;
  readonly bundleId: string;
  /** Undefined: the event log alone. */
  readonly files: BackfillFiles | undefined;
  /** Most rows to send a second. */
  readonly ratePerS: number;
  /** Deletes all records of the encoding. */
  readonly dropRecords: () => Promise<void>;
  /** Receives what is being done; each message replaces the one before. */
  readonly onProgress: (message: string) => void;
}

/** Rows of one call. Every run sends the same rows together, so that a partition recognises what it has. */
const ROWS = 500;
const POLL_MS = 200;
/** A partition with much traffic is without jobs for moments only. */
const SETTLED_POLL_MS = 5;

/**
 * Builds the records of an encoding. A run that was interrupted goes on if it is begun again with the same files.
 * Resolves when live interactions are appended to the records in every partition.
 * @throws conflict if another backfill of the encoding is under way; CkvError of Redis
 */
export async function runBackfill(parts: BackfillParts): Promise<Warming> {
  const { warmings, claim, bundleId, files, onProgress } = parts;
  const plan: WarmingPlan = {
    bundleId,
    source: files ? 'files' : 'log',
    digest: files?.digest ?? '',
    rowCount: files?.rowCount ?? 0,
  };
  await begin(warmings, claim, plan);
  if (await untilArmed(parts)) await open(parts);
  if (files) {
    await untilSettled(parts);
    await sendFiles(parts, files);
  }
  for (;;) {
    const warming = await warmingOf(parts);
    const overrun = warming.partitions.filter(({ phase }) => phase === 'overrun');
    if (overrun.length > 0) throw overrunError(overrun.map(({ partition }) => partition));
    const live = inPhase(warming, ['live']) === warming.partitions.length;
    if (live && (await warmings.finish(claim))) return warming;
    onProgress(describe(warming));
    await sleep(POLL_MS);
  }
}

/** Begins the warming, or finds the same one under way. */
async function begin(warmings: Warmings, claim: EncodingClaim, plan: WarmingPlan): Promise<void> {
  if (await warmings.begin(claim, plan)) return;
  const { source, digest } = await warmingOf({ warmings, claim });
  if (source === plan.source && digest === plan.digest) return;
  if (source === plan.source && digest === '') return warmings.replan(claim, plan);
  const text = 'another backfill of this encoding is under way, with other files; run "ckv backfill cancel" first';
  throw new CkvError('conflict', text);
}

/**
 * Begins a backfill from files, and waits until the event log has every interaction that is applied from now on. The
 * files are to be exported after that.
 */
export async function startBackfill(
  parts: Pick<BackfillParts, 'warmings' | 'claim' | 'bundleId' | 'onProgress'>,
): Promise<void> {
  await begin(parts.warmings, parts.claim, { bundleId: parts.bundleId, source: 'files', digest: '', rowCount: 0 });
  await untilArmed(parts);
}

/** Waits until every partition is armed. Returns false if the updaters have begun to apply interactions before. */
async function untilArmed(parts: Pick<BackfillParts, 'warmings' | 'claim' | 'onProgress'>): Promise<boolean> {
  for (;;) {
    const warming = await warmingOf(parts);
    const missing = inPhase(warming, ['begun']);
    if (missing === 0) return inPhase(warming, ['armed']) > 0;
    parts.onProgress(`waiting for the updaters: ${missing} of ${warming.partitions.length} partitions are not armed`);
    await sleep(POLL_MS);
  }
}

/** Deletes the records that the encoding has, and lets the updaters begin. */
async function open({ warmings, claim, dropRecords, onProgress }: BackfillParts): Promise<void> {
  onProgress('deleting what the encoding has of records');
  await dropRecords();
  await warmings.open(claim);
}

/**
 * Waits until every partition was without jobs once. What the files have may wait in the queue. It must be in the event
 * log before the files are applied, or it would count twice.
 */
export async function untilSettled({
  warmings,
  onProgress,
}: {
  readonly warmings: Pick<Warmings, 'unsettledCounts'>;
  readonly onProgress: (message: string) => void;
}): Promise<void> {
  const settled = new Set<number>();
  for (;;) {
    const counts = await warmings.unsettledCounts();
    for (const [partition, count] of counts.entries()) if (count === 0) settled.add(partition);
    const left = counts.filter((_, partition) => !settled.has(partition));
    if (left.length === 0) return;
    const jobs = left.reduce((sum, count) => sum + count, 0);
    onProgress(`waiting for the queue: ${left.length} partitions have ${grouped(jobs)} jobs`);
    await sleep(SETTLED_POLL_MS);
  }
}

/** Sends all rows that not every partition has. Waits where a partition has no room. */
async function sendFiles(parts: BackfillParts, files: BackfillFiles): Promise<void> {
  const { warmings, claim, ratePerS, onProgress } = parts;
  const { partitions } = await warmingOf(parts);
  const sentBefore = partitions.reduce((least, { sentCount }) => Math.min(least, sentCount), files.rowCount);
  const startedMs = performance.now();
  let from = 0;
  let shownMs = startedMs;

  async function send(rows: readonly Interaction[], last: boolean): Promise<void> {
    const to = from + rows.length;
    // The last call also says that no row follows: it is always made.
    if (to > sentBefore || last) {
      while ((await warmings.send(claim, rows, from, last, files.digest)).length > 0) await sleep(POLL_MS);
      const dueMs = startedMs + (1_000 * Math.max(0, to - sentBefore)) / ratePerS;
      if (dueMs > performance.now()) await sleep(dueMs - performance.now());
    }
    from = to;
    if (performance.now() - shownMs < POLL_MS && !last) return;
    shownMs = performance.now();
    onProgress(sendingText(from, files.rowCount, from - sentBefore, shownMs - startedMs));
  }

  let rows: Interaction[] = [];
  for await (const row of files.rows()) {
    if (rows.length === ROWS) {
      await send(rows, false);
      rows = [];
    }
    rows.push(row);
  }
  await send(rows, true);
}

function sendingText(sent: number, total: number, sentNow: number, tookMs: number): string {
  const leftS = sentNow > 0 ? Math.ceil(((total - sent) * tookMs) / sentNow / 1_000) : 0;
  const left = sentNow > 0 && sent < total ? `, about ${durationText(leftS)} left` : '';
  return `sent ${grouped(sent)} of ${grouped(total)} rows${left}`;
}

/** Returns a time in words: `40 s`, `12 min`, `3.5 h`. */
export function durationText(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3_600).toFixed(1)} h`;
}

/** Returns one line about a warming. */
export function describe(warming: Warming): string {
  const { partitions } = warming;
  const applied = partitions.reduce((sum, { appliedCount }) => sum + appliedCount, 0);
  const waiting = partitions.reduce((sum, { waitingCount }) => sum + waitingCount, 0);
  const lagMs = partitions.reduce((most, one) => Math.max(most, one.lagMs), 0);
  const phases = [...new Set(partitions.map(({ phase }) => phase))];
  const counts = phases.map((phase) => `${inPhase(warming, [phase])} ${phase}`);
  const parts = [`partitions: ${counts.join(', ')}`, `applied ${grouped(applied)}`];
  if (waiting > 0) parts.push(`${grouped(waiting)} rows wait`);
  if (lagMs > 0) parts.push(`event log ${durationText(Math.ceil(lagMs / 1_000))} behind`);
  return parts.join('; ');
}

async function warmingOf({ warmings, claim }: Pick<BackfillParts, 'warmings' | 'claim'>): Promise<Warming> {
  const found = (await warmings.all()).find((one) => one.encodingId === claim.encodingId);
  if (found) return found;
  throw new CkvError('conflict', 'the backfill was cancelled meanwhile; run it again from the beginning');
}

function inPhase({ partitions }: Warming, phases: readonly WarmingPhase[]): number {
  return partitions.filter(({ phase }) => phases.includes(phase)).length;
}

function overrunError(partitions: readonly number[]): CkvError {
  const text = `the event log of partition ${partitions.join(', ')} was full and dropped entries that were needed; run "ckv backfill cancel", raise CKV_EVENT_LOG_MAX_EVENTS of the updaters, and begin again`;
  return new CkvError('overloaded', text);
}

function grouped(count: number): string {
  return count.toLocaleString('en');
}
