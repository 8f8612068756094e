import { setTimeout as sleep } from 'node:timers/promises';
import type { Ranking } from '@collectivekv/client';
import type { RedisClient } from '@collectivekv/redis-connection';
import type { Backends } from '@collectivekv/test-chaos/load/backends';
import type { RankRequest } from '@collectivekv/test-chaos/load/ranks';
import type { UserJournal } from '@collectivekv/test-chaos/load/user-journal';
import { createAnswerCheck } from '@collectivekv/test-chaos/oracle/check-answers';
import { checkRecord } from '@collectivekv/test-chaos/oracle/check-record';
import { recordKey } from '@collectivekv/test-chaos/oracle/record-bytes';
import type { Reference } from '@collectivekv/test-chaos/oracle/reference';
import type { SeenSteps } from './seen-steps.js';

/** What the oracle found. */
export interface Findings {
  /** Records that were compared, byte by byte. */
  recordsCompared: number;
  /** Answers whose positions were compared, a part of them with their scores. */
  answersCompared: number;
  lost: number;
  duplicated: number;
  outOfOrder: number;
  wrongAnswers: number;
  readonly problems: string[];
}

/** Compares records and answers with everything that was sent. */
export interface DrillOracle {
  readonly findings: Findings;
  /** Notes an answer, which is compared later. */
  answered(request: RankRequest, answer: Ranking, mostSteps: number): void;
  /**
   * Waits until all interactions are applied to the records of these bundles, and compares the records, and the answers
   * so far. Nothing may be sent meanwhile.
   */
  compare(when: string, ...bundles: readonly Reference[]): Promise<void>;
  /** Ignores all answers from now on. */
  stop(): void;
}

/** Parts of {@link createDrillOracle}. */
export interface OracleParts {
  readonly references: readonly Reference[];
  readonly reader: RedisClient;
  readonly backends: Backends;
  readonly seen: SeenSteps;
}

const APPLY_MS = 60_000;
const POLL_MS = 50;
const LIFETIME_AT = 14;
const LIFETIME_BYTES = 6;

/** Creates the oracle. It reads keys and bytes in Redis as docs/wire-format.md describes them. */
export function createDrillOracle({ references, reader, backends, seen }: OracleParts): DrillOracle {
  const findings: Findings = {
    recordsCompared: 0,
    answersCompared: 0,
    lost: 0,
    duplicated: 0,
    outOfOrder: 0,
    wrongAnswers: 0,
    problems: [],
  };
  const checks = references.map((reference) => ({
    bundleId: reference.bundle.model.id,
    check: createAnswerCheck(reference, ({ info }) => info.bundleId === reference.bundle.model.id),
  }));
  const broken = new Set<UserJournal>();
  let stopped = false;

  async function isApplied(encodingId: string, { userId, steps }: UserJournal): Promise<boolean> {
    const key = recordKey(encodingId, userId);
    const bytes = await reader.getrangeBuffer(key, LIFETIME_AT, LIFETIME_AT + LIFETIME_BYTES - 1);
    return (bytes.length === LIFETIME_BYTES ? bytes.readUIntLE(0, LIFETIME_BYTES) : 0) >= steps.length;
  }

  async function untilApplied(encodingId: string): Promise<void> {
    const deadlineMs = performance.now() + APPLY_MS;
    for (const journal of backends.journals) {
      while (!(await isApplied(encodingId, journal)) && performance.now() < deadlineMs) await sleep(POLL_MS);
    }
  }

  async function compareRecord(when: string, reference: Reference, journal: UserJournal): Promise<void> {
    const { encodingId } = reference.bundle.model;
    const bytes = (await reader.getBuffer(recordKey(encodingId, journal.userId))) ?? undefined;
    const rows = await reference.rowsAfter(journal, journal.steps.length);
    // A user meets an item again, so equal rows may be different events.
    const found = checkRecord({ journal, bytes, encodingId, rows, rowsNameEvents: false });
    findings.recordsCompared++;
    findings.lost += found.lost;
    findings.duplicated += found.duplicated;
    findings.outOfOrder += found.outOfOrder;
    if (found.problem === '') return seen.note(encodingId, journal, journal.steps.length);
    broken.add(journal);
    findings.problems.push(`${when}: the record of ${journal.userId}: ${found.problem}`);
  }

  return {
    findings,
    answered(request, answer, mostSteps) {
      if (stopped) return;
      findings.answersCompared++;
      const own = checks.find(({ bundleId }) => bundleId === answer.info.bundleId);
      if (own) own.check.add(request, answer, mostSteps);
      else findings.problems.push(`an answer of an unknown bundle ${answer.info.bundleId}`);
    },
    stop() {
      stopped = true;
    },
    async compare(when, ...bundles) {
      for (const reference of bundles) await untilApplied(reference.bundle.model.encodingId);
      for (const reference of bundles) {
        for (const journal of backends.journals) await compareRecord(when, reference, journal);
      }
      for (const { check } of checks) {
        const wrong = await check.run(broken);
        findings.wrongAnswers += wrong.length;
        findings.problems.push(...wrong.map((text) => `${when}: ${text}`));
      }
    },
  };
}
