import type { Scenario } from './scenario.js';
import { hops } from './scenarios/hops.js';
import { processes } from './scenarios/processes.js';

/** All scenarios, in the order of a run. */
export const SCENARIOS: readonly Scenario[] = [processes, hops];
