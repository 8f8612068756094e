import { setTimeout as sleep } from 'node:timers/promises';
import { CkvError, type Interaction, invalidRequest } from '@collectivekv/domain';
import { durationText, inPhase, isComplete, warmingText } from '@collectivekv/operations';
import type {
  EncodingClaim,
  FinishedWarming,
  JobsOf,
  Warming,
  WarmingPlan,
  Warmings,
} from '@collectivekv/update-queue';
import type { BackfillFiles } from './backfill-files.js';

/** Parts of {@link runBackfill}. */
export interface BackfillParts {
  readonly warmings: Warmings;
  /** The claim on the encoding. Every step that changes something needs it. */
  readonly claim: EncodingClaim;
  readonly bundleId: string;
  /** Undefined: the event log alone. */
  readonly files: BackfillFiles | undefined;
  /** Builds complete records anew. */
  readonly again: boolean;
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

/**
 * Builds the records of an encoding. A run that was interrupted goes on if it is begun again with the same files.
 * Resolves when live interactions are appended to the records in every partition.
 * @returns undefined if the same backfill was finished before, and nothing was to be done
 * @throws invalid_request if another backfill is under way, or was finished; CkvError of Redis
 */
export async function runBackfill(parts: BackfillParts): Promise<Warming | undefined> {
  const { warmings, claim, bundleId, files, onProgress } = parts;
  const plan: WarmingPlan = {
    bundleId,
    source: files ? 'files' : 'log',
    digest: files?.digest ?? '',
    rowCount: files?.rowCount ?? 0,
    ...(files ? { fileDigests: files.fileDigests } : {}),
  };
  if (!(await isUnderWay(parts)) && (await wasFinished(parts, plan))) return undefined;
  await begin(parts, plan, files);
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
    onProgress(warmingText(warming));
    await sleep(POLL_MS);
  }
}

/** Begins the warming, or finds the same one under way. Throws invalid_request if another one is. */
async function begin(
  { warmings, claim, again }: Pick<BackfillParts, 'warmings' | 'claim' | 'again'>,
  plan: WarmingPlan,
  files?: BackfillFiles,
): Promise<void> {
  if (await warmings.begin(claim, plan, again)) return;
  const under = await warmingOf({ warmings, claim });
  if (under.source === plan.source && under.digest === plan.digest) return;
  if (under.source === plan.source && under.digest === '') return warmings.replan(claim, plan);
  throw otherPlan(under, files);
}

async function isUnderWay({ warmings, claim }: Pick<BackfillParts, 'warmings' | 'claim'>): Promise<boolean> {
  return (await warmings.all()).some(({ encodingId }) => encodingId === claim.encodingId);
}

/**
 * True if the same backfill was finished before: its command may be run again after it ended, and has nothing to do.
 * @throws invalid_request if another one was finished. Records that are complete are not deleted unless `again` says so
 */
async function wasFinished(
  { warmings, claim, again }: Pick<BackfillParts, 'warmings' | 'claim' | 'again'>,
  plan: Pick<WarmingPlan, 'source' | 'digest'>,
): Promise<boolean> {
  const finished = again ? undefined : await warmings.finished(claim.encodingId);
  if (!finished) return false;
  if (plan.source === 'files' && finished.source === 'files' && finished.digest === plan.digest) return true;
  const remedy = 'nothing is to be done; --again deletes them and builds them anew';
  throw invalidRequest('--bundle', `has complete records since a backfill that ended at ${timeOf(finished)}`, remedy);
}

/**
 * Checks that a backfill is under way whose records are not complete yet: a cancellation deletes them.
 * @throws invalid_request if there is none. Its records may be complete, and serve again after a return to the bundle
 */
export async function requireIncomplete({
  warmings,
  encodingId,
  backfill,
}: {
  readonly warmings: Pick<Warmings, 'finished'>;
  readonly encodingId: string;
  readonly backfill: Warming | undefined;
}): Promise<void> {
  const remedy = 'nothing is to be cancelled; --force deletes all records of the encoding';
  if (backfill) {
    if (!isComplete(backfill)) return;
    const goOn = 'run "ckv backfill" again with the same files to end it; --force deletes them';
    throw invalidRequest('--bundle', 'has complete records, of a backfill that is live in all partitions', goOn);
  }
  const finished = await warmings.finished(encodingId);
  const problem = finished
    ? `has complete records since a backfill that ended at ${timeOf(finished)}`
    : 'has no backfill under way, and its records may be complete';
  throw invalidRequest('--bundle', problem, remedy);
}

function timeOf({ finishedAtMs }: FinishedWarming): string {
  return new Date(finishedAtMs).toISOString();
}

/** Returns the error for files that are not those of the backfill under way. */
function otherPlan({ source, fileDigests = [] }: WarmingPlan, files: BackfillFiles | undefined): CkvError {
  const cancel = 'or run "ckv backfill cancel" first';
  if (source === 'log') {
    const problem = 'is given, and a backfill from the event log is under way';
    return invalidRequest('--log', problem, `go on with --from-redis-stream, ${cancel}`);
  }
  if (!files) {
    const problem = 'is given, and a backfill from files is under way';
    return invalidRequest('--from-redis-stream', problem, `go on with its --log files, ${cancel}`);
  }
  const begunWith = fileDigests.map((digest) => files.names[files.fileDigests.indexOf(digest)]);
  if (begunWith.length !== files.names.length || begunWith.includes(undefined)) {
    const problem = 'names other files than the backfill that is under way, or files that have changed';
    return invalidRequest('--log', problem, `name the same files, ${cancel}`);
  }
  if (begunWith.join() === files.names.join()) {
    const problem = 'differ from those of the backfill that is under way, or the features of the bundle do';
    return invalidRequest('--columns', problem, `give the same columns, ${cancel}`);
  }
  const problem = 'names the files of the backfill that is under way in another order';
  return invalidRequest('--log', problem, `name them in this order: ${begunWith.join(' ')}; ${cancel}`);
}

/**
 * Begins a backfill from files, and waits until the event log has every interaction that is applied from now on. The
 * files are to be exported after that.
 */
export async function startBackfill(
  parts: Pick<BackfillParts, 'warmings' | 'claim' | 'bundleId' | 'again' | 'onProgress'>,
): Promise<void> {
  const { warmings, claim, bundleId, again } = parts;
  const plan = { bundleId, source: 'files', digest: '', rowCount: 0 } as const;
  if (!(await isUnderWay(parts))) await wasFinished(parts, plan);
  if (!(await warmings.begin(claim, plan, again))) {
    const { source, digest } = await warmingOf(parts);
    if (source === 'log' || digest !== '') {
      const origin = source === 'log' ? 'the event log' : 'files that are known';
      const remedy = 'go on with it by "ckv backfill", or run "ckv backfill cancel" first';
      throw invalidRequest('--bundle', `has a backfill under way, from ${origin}`, remedy);
    }
  }
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

/** Rounds of {@link untilSettled}: a job in a wrong partition is put into the right one, behind the jobs there. */
const SETTLE_ROUNDS = 2;

/**
 * Waits until every job that is in the queue now has been applied. What the files have may wait in the queue. It must be
 * in the event log before the files are applied, or it would count twice. Later jobs are not waited for.
 */
export async function untilSettled({
  warmings,
  onProgress,
}: {
  readonly warmings: Pick<Warmings, 'newestJobs' | 'jobsInHand' | 'leftUpTo'>;
  readonly onProgress: (message: string) => void;
}): Promise<void> {
  async function untilGone(jobs: readonly JobsOf[]): Promise<void> {
    for (;;) {
      const left = (await warmings.leftUpTo(jobs)).filter((count) => count > 0);
      if (left.length === 0) return;
      const count = left.reduce((sum, one) => sum + one, 0);
      onProgress(`waiting until ${grouped(count)} jobs of the queue are applied, in ${left.length} partitions`);
      await sleep(POLL_MS);
    }
  }
  for (let round = 0; round < SETTLE_ROUNDS; round++) {
    // Jobs are taken in order. Those before the newest one may be applied after it: they are in hand then.
    await untilGone(await warmings.newestJobs());
    await untilGone(await warmings.jobsInHand());
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

async function warmingOf({ warmings, claim }: Pick<BackfillParts, 'warmings' | 'claim'>): Promise<Warming> {
  const found = (await warmings.all()).find((one) => one.encodingId === claim.encodingId);
  if (found) return found;
  throw new CkvError('conflict', 'the backfill was cancelled meanwhile; run it again from the beginning');
}

function overrunError(partitions: readonly number[]): CkvError {
  const text = `the event log of partition ${partitions.join(', ')} was full and dropped entries that were needed; run "ckv backfill cancel", raise CKV_EVENT_LOG_MAX_EVENTS of the updaters, and begin again`;
  return new CkvError('overloaded', text);
}

function grouped(count: number): string {
  return count.toLocaleString('en');
}
