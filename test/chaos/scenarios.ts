import type { Scenario } from './scenario.js';
import { forgets } from './scenarios/forgets.js';
import { history } from './scenarios/history.js';
import { hops } from './scenarios/hops.js';
import { jobs } from './scenarios/jobs.js';
import { lateWrites } from './scenarios/late-writes.js';
import { leases } from './scenarios/leases.js';
import { processes } from './scenarios/processes.js';
import { rollingRestart } from './scenarios/rolling-restart.js';

/** All scenarios, in the order of a run. */
export const SCENARIOS: readonly Scenario[] = [
  processes,
  hops,
  leases,
  lateWrites,
  history,
  jobs,
  forgets,
  rollingRestart,
];
