// Schedules that need many things in a certain order. The random search meets them rarely. Each ends with the checks of
// every run.
import { USERS } from './feed.js';
import { type Step, step } from './steps.js';
import type { Setting } from './write-path.js';

const SETTING: Setting = { bundles: 'one', skewMs: 0, updaterCount: 1 };
const { a, b } = USERS;

const record = (count: number, withKey = false) => step.record([[a, count]], withKey);
/** The first updater, among all processes. */
const UPDATER = 3;
/** Lets one late call happen, and what follows from it. */
const late = [step.late([0]), step.pass(100)];
/** Another updater waits until the leases of a dead one have ended, and works. */
const takeOver = [step.start(), step.pass(3_000), step.pass(3_000)];
const APPEND = 'AppendPositions';
const TAKE = 'ckvTakeJobs';
const ENQUEUE = 'addStandardJob:6.7.0';

/** Each begins after a second, in which the updater takes its partitions. */
const SCHEDULES: readonly (readonly [title: string, steps: Step[], setting?: Partial<Setting>])[] = [
  [
    'if a release comes late, after its updater renewed the lease and has an append under way',
    [
      step.trap('ckvReleaseLeases', 'break', 'late'),
      ...[step.start(), step.pass(1_600), step.stop(1), step.pass(1_600)],
      ...[step.trap(APPEND, 'break', 'late'), record(30), step.pass(600)],
      ...[step.late([0]), step.start(), step.pass(1_000), ...late],
    ],
  ],
  [
    'if a late append arrives before its fence has ended',
    [step.trap(APPEND, 'break', 'late'), record(14), step.pass(400), record(30), step.pass(400), ...late],
  ],
  [
    'if a late append arrives after its fence has ended',
    [step.trap(APPEND, 'break', 'late'), record(14), step.pass(3_000), record(30), step.pass(3_000), ...late],
  ],
  [
    'if an updater with a late append gives a partition back to one that joins',
    [
      ...[step.trap(APPEND, 'break', 'late'), record(14), step.pass(400)],
      ...[step.start(), step.pass(1_600), record(30), step.pass(400), ...late],
    ],
  ],
  [
    'if an updater with a late append shuts down, and another takes its partitions at once',
    [
      ...[step.trap(APPEND, 'break', 'late'), record(14), step.pass(400)],
      ...[step.stop(0), step.start(), record(30), step.pass(1_500), ...late],
    ],
  ],
  [
    "if an updater dies with an append under way, and the clock of the records' Redis is behind",
    [
      ...[step.trap(APPEND, 'kill', 'late'), record(3), step.pass(300)],
      ...[step.wait(4_701), step.start(), step.pass(50), ...late],
    ],
    { skewMs: -499 },
  ],
  [
    'if an updater stalls before it tries an append again, and meanwhile another has the partition',
    [
      ...[step.trap(APPEND, 'break', 'lost'), record(14), step.pass(255), step.stall(UPDATER)],
      ...[step.start(), step.wait(5_001), step.pass(1_600), record(30), step.pass(600), step.stop(1), step.pass(400)],
      ...[step.goOn(0), step.work(0, [2, 2, 0]), step.pass(1_600)],
    ],
  ],
  [
    'if an updater that lost its leases as it stalled shuts down, and the next holder has an append under way',
    [
      ...[step.stall(UPDATER), step.start(), step.pass(10), step.wait(5_001), step.pass(1_100)],
      ...[step.trap(APPEND, 'break', 'late'), record(3), step.pass(600)],
      ...[step.stop(0), step.goOn(0), step.work(0, [0, 0, 0, 0]), step.late([0]), step.flow([0, 0]), step.pass(100)],
    ],
  ],
  [
    'if an updater dies before its job of many waves is completed',
    [step.trap('ckvCompleteJobs', 'kill', 'lost'), record(30), step.pass(400), ...takeOver],
  ],
  [
    'if an updater dies before several jobs are applied',
    [record(1), record(1), record(1), step.trap(APPEND, 'kill', 'lost'), step.pass(400), ...takeOver],
  ],
  [
    'if a note of progress comes late, from a former opening',
    [
      ...[step.trap('ckvRememberProgress', 'break', 'late'), step.trap('ckvCompleteJobs', 'kill', 'lost')],
      ...[record(30), step.pass(1_000), ...late],
    ],
  ],
  [
    'if a take comes late, from a former opening',
    [step.trap(TAKE, 'break', 'late'), record(1), step.pass(600), ...late],
  ],
  ...[TAKE, 'ckvCompleteJobs', 'ckvSetAsideJob', 'ckvRememberProgress'].map((call): [string, Step[]] => [
    `if ${call} of a dead updater comes late, after its lease has ended`,
    [
      ...[step.trap(call, 'kill', 'late'), record(30), step.recordBesideRefused(b, 1), step.pass(600)],
      ...[step.wait(5_001), ...late],
    ],
  ]),
  [
    'if a recovery of a dead updater comes late, after its lease has ended',
    [
      ...[step.trap(TAKE, 'break', 'lost'), step.trap('ckvRecoverJobs', 'kill', 'late'), record(1), step.pass(600)],
      ...[step.wait(5_001), ...late],
    ],
  ],
  [
    "if the holder's own recovery comes late, while a user is being deleted",
    [
      ...[step.trap(TAKE, 'break', 'lost'), step.trap('ckvRecoverJobs', 'break', 'late'), record(1), step.pass(1_000)],
      ...[step.stall(0), step.stall(1), step.deleteUser(a), step.pass(400), record(2), step.pass(100), ...late],
    ],
  ],
  [
    'if a removal comes late, behind newer events',
    [
      ...[record(14), step.pass(400), step.trap('DeletePosition', 'break', 'late'), step.forget(a, 2), step.pass(400)],
      ...[record(14), step.pass(400), record(14), step.pass(1_000), ...late],
    ],
  ],
  [
    'if a deletion comes late, behind newer events',
    [
      ...[record(3), step.pass(400), step.trap('ckvDeleteUser', 'break', 'late'), step.deleteUser(a), step.pass(300)],
      ...[record(3), step.pass(1_000), ...late],
    ],
  ],
  ...['DeletePosition', 'DeleteRecord'].map((call): [string, Step[]] => [
    `if ${call} of a dead updater comes late, to the next holder`,
    [
      ...[record(3), step.pass(400), step.trap(call, 'kill', 'late')],
      ...[call === 'DeletePosition' ? step.forget(a, 0) : step.deleteUser(a), step.pass(400)],
      ...[
        step.wait(5_001),
        step.start(),
        step.work(0, [0, 0]),
        step.late([0]),
        step.flow([0, 0, 0, 0]),
        step.pass(100),
      ],
    ],
  ]),
  [
    'if a late append would bring a deleted user back',
    [
      ...[step.trap(APPEND, 'break', 'late'), record(3), step.pass(400)],
      ...[step.deleteUser(a), step.pass(1_000), ...late, record(1)],
    ],
  ],
  [
    'if the call that deletes a user reaches the queue once more, behind newer events',
    [
      ...[record(3), step.pass(400), step.trap(ENQUEUE, 'break', 'late'), step.deleteUser(a), step.pass(1_000)],
      ...[record(3), step.pass(400), ...late],
    ],
  ],
  ...[false, true].map((withKey): [string, Step[]] => [
    `if a call that records ${withKey ? 'with a key ' : ''}reaches the queue once more, behind newer events`,
    [
      ...[step.trap(ENQUEUE, 'break', 'late'), record(3, withKey), step.pass(1_000)],
      ...[record(30), step.pass(400), ...late],
    ],
  ]),
  [
    'if a call whose job was set aside reaches the queue once more, after one of its users was deleted',
    [
      ...[step.trap(ENQUEUE, 'break', 'late'), step.recordBesideRefused(a, 2), step.pass(1_000)],
      ...[step.deleteUser(a), step.pass(1_000), ...late],
    ],
  ],
  [
    'if an updater dies as it forwards a job',
    [step.trap(ENQUEUE, 'kill', 'lost'), step.goAstray(), step.pass(400), ...takeOver],
  ],
  ["if one of a job's users is refused", [step.recordBesideRefused(a, 2), step.pass(400)]],
];

/** Each with its title, which goes on after "keeps its promises", and its setting. */
export const KNOWN_SCHEDULES: readonly {
  readonly title: string;
  readonly setting: Setting;
  readonly steps: Step[];
}[] = SCHEDULES.map(([title, steps, setting]) => ({
  title,
  setting: { ...SETTING, ...setting },
  steps: [step.pass(1_000), ...steps],
}));
