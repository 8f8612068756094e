// What fast-check chooses: the setting of a run and its steps. The weights make faults meet work that is under way.
import fc from 'fast-check';
import { ORDERED } from './feed.js';
import type { Fate } from './redis-link.js';
import { type Step, step } from './steps.js';
import type { Setting } from './write-path.js';

/** Fewest and most steps of a run. */
export const STEP_COUNTS = [8, 40] as const;

const pick = fc.nat({ max: 11 });
const picks = (most: number) => fc.array(pick, { minLength: 1, maxLength: most });
const fate = fc.constantFrom<Fate>('late', 'lost');
const reason = fc.constantFrom('deadline' as const, 'dependency_unavailable' as const);
const fault = fc.constantFrom('break' as const, 'break' as const, 'break' as const, 'stall' as const, 'kill' as const);
const userId = fc.constantFrom(...ORDERED);
const counts = fc.uniqueArray(fc.tuple(userId, fc.constantFrom(1, 2, 3, 7, 14, 15, 30)), {
  minLength: 1,
  maxLength: 3,
  selector: ([user]) => user,
});

/** Calls that a trap waits for: scripts of the queue, methods of the user-cache, scripts of the records. */
const TRAPPED = [
  'ckvHoldLeases',
  'ckvReleaseLeases',
  'ckvRecoverJobs',
  'ckvTakeJobs',
  'ckvCompleteJobs',
  'ckvSetAsideJob',
  'ckvRememberProgress',
  'ckvStripJob',
  'ckvNoteReceipt',
  'addStandardJob:6.7.0',
  'AppendPositions',
  'AppendPositions',
  'DeletePosition',
  'DeleteRecord',
  'GetRecords',
  'ckvAppendPositions',
  'ckvSwapRecord',
  'ckvDeleteUser',
] as const;

/** Chooses the steps of a run. */
export const arbitrarySteps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    weighted(6, [counts, fc.boolean()], step.record),
    weighted(1, [userId, fc.integer({ min: 1, max: 3 })], step.recordBesideRefused),
    weighted(1, [userId, fc.nat({ max: 6 })], step.forget),
    weighted(1, [userId], step.deleteUser),
    weighted(1, [], step.goAstray),
    weighted(1, [], step.sendUnreadable),
    weighted(8, [pick, picks(24)], step.work),
    weighted(2, [picks(6)], step.flow),
    weighted(6, [fc.constantFrom(100, 400, 1_000, 3_000)], step.pass),
    weighted(3, [fc.constantFrom(50, 300, 1_000, 2_500, 4_600, 5_001)], step.wait),
    weighted(3, [pick, fate, fc.constantFrom(0, 0, 0, 1_000, 7_000)], step.cut),
    weighted(12, [fc.constantFrom(...TRAPPED), fault, fate], step.trap),
    weighted(3, [pick, reason, fate], step.failCall),
    weighted(8, [picks(4)], step.late),
    weighted(2, [pick, fate], step.kill),
    weighted(3, [], step.start),
    weighted(1, [pick], step.stop),
    weighted(2, [pick], step.stall),
    weighted(4, [pick], step.goOn),
    weighted(4, [pick, fc.constantFrom(100, 1_500)], step.oversleep),
  ),
  { minLength: STEP_COUNTS[0], maxLength: STEP_COUNTS[1], size: 'max' },
);

/** Chooses what holds for a whole run. */
export const arbitrarySetting: fc.Arbitrary<Setting> = fc.record({
  bundles: fc.constantFrom('one', 'one', 'two', 'twins', 'history'),
  skewMs: fc.constantFrom(0, -499, 499),
  updaterCount: fc.integer({ min: 1, max: 2 }),
});

function weighted<const A extends readonly unknown[]>(
  weight: number,
  choices: { readonly [I in keyof A]: fc.Arbitrary<A[I]> },
  make: (...made: A) => Step,
): fc.WeightedArbitrary<Step> {
  const tuple = fc.tuple(...(choices as unknown as fc.Arbitrary<unknown>[]));
  return { weight, arbitrary: tuple.map((one) => make(...(one as unknown as A))) };
}
