import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_FLEET, startFleet } from './fleet/fleet.js';
import { DEFAULT_WRITES, startBackends } from './load/backends.js';
import { openDoors } from './load/doors.js';
import { startRanks } from './load/ranks.js';
import { createInteractions, readVocabulary } from './load/vocabulary.js';
import { createAnswerCheck } from './oracle/check-answers.js';
import { createJudge } from './oracle/judge.js';
import { createReference } from './oracle/reference.js';
import type { Count, Verdict } from './oracle/verdict.js';
import type { Random } from './random.js';
import type { DurabilityRow, Scenario } from './scenario.js';

/** What a scenario showed. */
export type Outcome = Readonly<Verdict> & {
  readonly scenario: string;
  readonly about: string;
  readonly interactions: number;
  /** Calls whose outcome was unknown until they were sent again. */
  readonly uncertainCalls: number;
  /** Calls that were sent again although they had succeeded. */
  readonly repeatedCalls: number;
  readonly rankRequests: number;
  /** Answers on a lower rung; each says why. */
  readonly degradedAnswers: number;
  readonly faults: number;
  /** Longest time from the end of a fault until everything was applied and all answers had history again. */
  readonly recoveredMs: number;
  readonly slowestFault: string;
  readonly seconds: number;
  readonly ok: boolean;
  readonly durability?: DurabilityRow;
};

/** Options of {@link runScenario}. */
export interface RunOptions {
  readonly random: Random;
  readonly quick: boolean;
  /** Causes only the faults whose name has this text. */
  readonly onlyFaults: string;
  /** Ends the scenario after the first fault with one of these counts above zero. */
  readonly stopAt: readonly Count[];
  readonly onProgress: (text: string) => void;
  /** Folder that receives the logs of the services if the scenario fails. */
  readonly keepLogsIn: string;
}

/** Runs a scenario on a fleet of its own. */
export async function runScenario(scenario: Scenario, options: RunOptions): Promise<Outcome> {
  const { random, quick, onlyFaults, stopAt, onProgress, keepLogsIn } = options;
  const startedMs = performance.now();
  const spec = { ...DEFAULT_FLEET, ...scenario.fleet };
  const vocabulary = readVocabulary(spec.bundlesDir);
  const reference = await createReference(spec.bundlesDir);
  const fleet = await startFleet(spec);
  const doors = await openDoors({
    ...fleet.targets,
    queueUrl: fleet.redis.queueUrl ?? fleet.redis.url,
    confirmReplicas: Number(spec.replicas.updater[0]?.CKV_CONFIRM_REPLICAS ?? 0),
  });
  const { client } = doors;
  const answers = createAnswerCheck(reference);
  const { maxPositions } = reference.bundle.model.manifest;
  const backends = startBackends({
    doors,
    interactionsOf: (userId, own) => createInteractions(userId, vocabulary, own),
    rules: { maxPositions, forgetsByEventOnly: reference.bundle.model.encodesWithHistory },
    load: { ...DEFAULT_WRITES, ...scenario.load },
    random: random.fork('writes'),
    prefix: scenario.name,
  });
  const ranks = startRanks({
    client,
    vocabulary,
    random: random.fork('ranks'),
    users: backends.current,
    loops: 3,
    pauseMs: 80,
    onAnswer: answers.add,
  });
  const judge = createJudge({ fleet, backends, ranks, answers, reference, onProgress, onlyFaults, stopAt });
  const { fault, untilApplied } = judge;
  await judge.run(async () => {
    await fault('no fault', () => backends.untilAccepted(500));
    await scenario.run({ fleet, random: random.fork('faults'), quick, backends, ranks, doors, untilApplied, fault });
    await fault('the end', () => backends.stop());
  });
  await ranks.stop();
  await backends.stop().catch(() => undefined);
  const { verdict, recoveries } = judge;
  const ok = verdict.problems.length === 0;
  if (!ok) await cp(join(fleet.dir, 'logs'), join(keepLogsIn, scenario.name), { recursive: true });
  judge.close();
  await doors.close();
  await reference.close();
  await fleet.stop();
  const slowest = [...recoveries].sort((a, b) => b.recoveredMs - a.recoveredMs)[0];
  return {
    ...verdict,
    scenario: scenario.name,
    about: scenario.about,
    interactions: backends.acceptedCount,
    uncertainCalls: backends.uncertainCount,
    repeatedCalls: backends.repeatedCount,
    rankRequests: ranks.answeredCount,
    degradedAnswers: ranks.degradedCount,
    faults: recoveries.length,
    recoveredMs: slowest?.recoveredMs ?? 0,
    slowestFault: slowest?.fault ?? '',
    seconds: Math.round((performance.now() - startedMs) / 1_000),
    ok,
    ...(scenario.durability ? { durability: scenario.durability } : {}),
  };
}
