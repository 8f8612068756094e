import type { Fleet, FleetSpec } from './fleet/fleet.js';
import type { Backends, WriteLoad } from './load/backends.js';
import type { Doors } from './load/calls.js';
import type { Ranks } from './load/ranks.js';
import type { UserJournal } from './load/user-journal.js';
import type { RecordCount } from './oracle/verdict.js';
import type { Random } from './random.js';

/** A row of the durability table of docs/reliability.md: what survives with a Redis that is set up like this. */
export interface DurabilityRow {
  /** How Redis keeps its data. */
  readonly redis: string;
  readonly event: string;
  /** What may be lost. */
  readonly promise: string;
}

/** A part of a run: a fleet under load, and faults. */
export interface Scenario {
  /** Of letters, digits and hyphens. */
  readonly name: string;
  /** One sentence for docs/reliability.md. */
  readonly about: string;
  /** True: a part of `--quick`, which `npm test` runs. */
  readonly quick?: boolean;
  /** Overrides of the default fleet. */
  readonly fleet?: Partial<FleetSpec>;
  /** Overrides of the default load. */
  readonly load?: Partial<WriteLoad>;
  /** The row that this scenario fills in the durability table. */
  readonly durability?: DurabilityRow;
  /** Causes the faults, each by {@link Arena.fault}. */
  run(arena: Arena): Promise<void>;
}

/** What a scenario works with. */
export interface Arena {
  readonly fleet: Fleet;
  readonly random: Random;
  /** True in `--quick`: a scenario causes fewer faults. */
  readonly quick: boolean;
  readonly backends: Backends;
  readonly ranks: Ranks;
  /** The doors that the backends use: for calls of the scenario's own. */
  readonly doors: Doors;
  /** Resolves when everything that was accepted for a user is applied. */
  untilApplied(journal: UserJournal): Promise<void>;
  /**
   * Causes a fault under load and waits until its end. Then waits until everything that was accepted is applied and
   * all ranking replicas answer with history, and compares all records, jobs and answers. What is wrong counts for this
   * fault, by its name.
   */
  fault(name: string, strike: () => Promise<void>, options?: FaultOptions): Promise<void>;
}

/** Options of {@link Arena.fault}. */
export interface FaultOptions {
  /** Jobs that the fault leaves set aside, as it should. Default 0. */
  readonly asideJobs?: number;
  /** True: the store may go back to an earlier state. Answers may then have less history than before. */
  readonly storeMayGoBack?: boolean;
  /**
   * Returns for how many interactions at most the fault may break a promise, asked after the fault. What it breaks up
   * to there is counted apart, as `allowed`. Nothing else may be wrong. Default: none.
   */
  readonly mayBreak?: () => Partial<Record<RecordCount, number>>;
}
