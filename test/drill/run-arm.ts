import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CollectiveKvClient } from '@collectivekv/client';
import { servesUser } from '@collectivekv/domain';
import type { BundleStatus } from '@collectivekv/operations';
import type { Reference } from '@collectivekv/test-chaos/oracle/reference';
import { createRandom, type Random } from '@collectivekv/test-chaos/random';
import { type ArmOutcome, CONTROL, HISTORIES, outcomeOf } from './arm-outcome.js';
import { backfill } from './backfill.js';
import { writeColdBundle } from './cold-bundle.js';
import { type DrillSystem, startDrillSystem } from './drill-system.js';
import { exportLogs } from './export-log.js';
import { type Killer, startKiller } from './killer.js';

/** The size of a drill. */
export interface DrillSize {
  readonly users: number;
  /** Interactions of a user before the first switch, on average. */
  readonly historyLength: number;
  readonly interactionsPerSecond: number;
  readonly ranksPerSecond: number;
  /** Least time of a phase in which nothing changes, and of one that begins with a switch, ms. */
  readonly steadyMs: number;
  readonly switchMs: number;
  readonly leastInteractions: number;
  /** Kills of the backfill, in an arm with kills. */
  readonly backfillKills: number;
  /** Most interactions a second that an updater backfills. */
  readonly backfillRate: number;
}

/** Options of {@link runArm}. */
export interface ArmOptions {
  readonly arm: string;
  /** True: processes are killed all the time. */
  readonly kills: boolean;
  readonly seed: string;
  readonly size: DrillSize;
  /** Folder with the bundles v1, v2 and v3. */
  readonly bundlesFrom: string;
  /** Folder that receives the logs of the services if a promise is broken. */
  readonly keepLogsIn: string;
  readonly onProgress: (text: string) => void;
}

const HISTORY_PER_SECOND = 1_500;
const PATIENCE_MS = 240_000;
const POLL_MS = 100;
const LEAST_COVERAGE = 0.95;
/** Requests below which the pool does not know the coverage. */
const LEAST_SAMPLES = 100;
const CANARY_BP = 500;
/** Replicas of ranking and updater. */
const FOLLOWERS = 4;

/** Runs the drill once, on a system of its own. */
export async function runArm(options: ArmOptions): Promise<ArmOutcome> {
  const { arm, seed, size, bundlesFrom, keepLogsIn, onProgress } = options;
  const startedMs = performance.now();
  const random = createRandom(`${seed} ${arm}`);
  const { users, ranksPerSecond, backfillRate } = size;
  const load = { users, ranksPerSecond, backfillRate, interactionsPerSecond: HISTORY_PER_SECOND };
  const system = await startDrillSystem({ ...load, bundlesFrom, random, firstPhase: HISTORIES });
  const drill = createDrill(system, options, random);
  let ended = '';
  try {
    await drill.run();
  } catch (error) {
    onProgress(String((error as Error).stack));
    ended = `the drill ended: ${(error as Error).message}`;
  }
  await system.ranks.stop();
  await system.backends.stop().catch((error) => {
    ended ||= `a call never succeeded: ${error}`;
  });
  const { findings } = system.oracle;
  const outcome = outcomeOf({
    arm,
    phases: system.phases.rows(),
    findings,
    failures: system.ranks.failures,
    ended,
    interactions: system.backends.acceptedCount,
    repeatedCalls: system.backends.repeatedCount,
    kills: drill.kills(),
    seconds: Math.round((performance.now() - startedMs) / 1_000),
  });
  if (outcome.problems.length > 0)
    await cp(join(system.dir, 'stack', 'logs'), join(keepLogsIn, arm), { recursive: true });
  await system.close();
  return outcome;
}

/** Creates the phases of the drill, as docs/model-updates.md has them. */
function createDrill(system: DrillSystem, options: ArmOptions, random: Random) {
  const { ckv, phases, oracle, backends, probes, publish } = system;
  const { size, bundlesFrom, onProgress } = options;
  const { v1, v2, v3 } = system.bundles;
  const idOf = ({ bundle }: Reference) => bundle.model.id;
  const isCanary = (userId: string) => servesUser({ bundleId: idOf(v3), shareBp: CANARY_BP }, userId);
  let killer: Killer | undefined;

  function begin(phase: string): void {
    onProgress(phase);
    phases.begin(phase);
  }

  function coverageIn(bundles: readonly BundleStatus[]): number | null {
    const status = bundles.find(({ id }) => id === idOf(v3));
    if (!status?.coverage || status.coverage.sampledCount < LEAST_SAMPLES) return null;
    return status.coverage.warmCount / status.coverage.sampledCount;
  }

  /** Lets a phase go on for a time, and notes the coverage at its end. */
  async function goOn(ms: number): Promise<void> {
    await sleep(ms);
    phases.covered(coverageIn(await ckv.status()));
  }

  /** Waits until the replicas have loaded a bundle. */
  async function untilLoaded(bundleId: string): Promise<void> {
    await until(`bundle ${bundleId} is loaded`, async () => {
      const followers = (await system.status()).find(({ id }) => id === bundleId)?.followers ?? [];
      return followers.length >= FOLLOWERS && followers.every(({ loaded }) => loaded);
    });
  }

  /** Waits until every ranking replica serves a user by a bundle. */
  async function untilServed(userId: string, bundleId: string): Promise<void> {
    const isServed = async (probe: CollectiveKvClient) =>
      (await probe.rank({ userId, candidateIds: ['any'] })).info.bundleId === bundleId;
    await Promise.all(probes.map((probe) => until(`bundle ${bundleId} serves`, () => isServed(probe))));
  }

  /** Compares all records and answers while nothing is sent. Rank requests go on. */
  async function compare(when: string, ...bundles: Reference[]): Promise<void> {
    await backends.pause();
    await oracle.compare(when, ...bundles);
    backends.resume();
  }

  async function updateModels(someone: string): Promise<void> {
    begin('v1 serves');
    await goOn(size.steadyMs);

    begin('switch to v2, same encoding');
    await publish(join(bundlesFrom, 'v2'), 'v2');
    await ckv('bundle', 'warm', idOf(v2));
    await untilLoaded(idOf(v2));
    await ckv('bundle', 'activate', idOf(v2));
    await untilServed(someone, idOf(v2));
    await goOn(size.switchMs);
    begin('v2 serves');
    await goOn(size.steadyMs);

    begin('backfill of v3');
    await backfillV3();
    begin('coverage of v3 rises');
    await until('the coverage is high enough', async () => {
      const share = coverageIn(await system.status());
      phases.covered(share);
      return (share ?? 0) >= LEAST_COVERAGE;
    });
    await goOn(size.steadyMs); // the coverage may be high at once, and scores of a few requests tell nothing

    begin('canary, 5 % of the users');
    await ckv.untilDone('bundle', 'canary', idOf(v3), '--share', '5%');
    const canary = backends.journals.find(({ userId }) => isCanary(userId));
    if (canary) await untilServed(canary.userId, idOf(v3));
    await goOn(size.steadyMs);

    begin('switch to v3, new encoding');
    await ckv.untilDone('bundle', 'activate', idOf(v3));
    await untilServed(someone, idOf(v3));
    await goOn(size.switchMs);
    begin('v3 serves');
    await goOn(size.steadyMs);

    begin('rollback to v2');
    await ckv('bundle', 'rollback');
    await untilServed(someone, idOf(v2));
    await goOn(size.switchMs);

    begin('switch to v3 again');
    await ckv.untilDone('bundle', 'activate', idOf(v3));
    await untilServed(someone, idOf(v3));
    await goOn(size.switchMs);
    const missing = size.leastInteractions - backends.acceptedCount;
    if (missing > 0) await backends.untilAccepted(missing);
  }

  async function backfillV3(): Promise<void> {
    await publish(join(bundlesFrom, 'v3'), 'v3');
    const { id: bundleId, encodingId } = v3.bundle.model;
    await ckv.untilDone('backfill', 'start', '--bundle', bundleId);
    const logs = await exportLogs(system.dir, backends.journals);
    const rowCount = backends.journals.reduce((sum, { events }) => sum + events.length, 0);
    const rows = { logs, rowCount };
    const kills = { killer, kills: size.backfillKills, random: random.fork('backfill') };
    await backfill({ ckv, redis: system.redis, bundleId, encodingId, ...rows, ...kills });
    await compare('after the backfill', v2, v3);
    await goOn(0);
  }

  /** The control: a new encoding is activated by force, without a backfill. The measure must see it. */
  async function switchCold(someone: string): Promise<void> {
    const folder = join(system.dir, 'cold');
    const cold = await writeColdBundle(join(bundlesFrom, 'v3'), folder);
    await publish(folder, 'cold');
    await ckv('bundle', 'warm', cold);
    await untilLoaded(cold);
    await ckv('bundle', 'activate', cold, '--force');
    await untilServed(someone, cold);
    begin(CONTROL);
    await sleep(size.switchMs);
  }

  return {
    kills: () => killer?.kills ?? {},
    async run(): Promise<void> {
      const someone = backends.journals.find(({ userId }) => !isCanary(userId))?.userId ?? '';
      await backends.untilAccepted(size.users * size.historyLength);
      system.setInteractionsPerSecond(size.interactionsPerSecond);
      await compare('the histories', v1);
      if (options.kills) killer = startKiller(system.stack, random.fork('kills'));
      try {
        await updateModels(someone);
      } finally {
        await killer?.stop();
      }
      await backends.stop();
      await oracle.compare('at the end', v2, v3);
      oracle.stop();
      await switchCold(someone);
    },
  };
}

/** Waits for a condition. A failure counts as false: a replica may be away. */
async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  while (!(await condition().catch(() => false))) {
    if (performance.now() > deadlineMs) throw new Error(`waited in vain until ${what}`);
    await sleep(POLL_MS);
  }
}
