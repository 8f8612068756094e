import type { Scenario } from './scenario.js';
import { address } from './scenarios/address.js';
import { bundleFiles } from './scenarios/bundles.js';
import { clocks } from './scenarios/clocks.js';
import { failoverScenarios } from './scenarios/failovers.js';
import { forgets } from './scenarios/forgets.js';
import { fullDisk } from './scenarios/full-disk.js';
import { history } from './scenarios/history.js';
import { readHops, writeHops } from './scenarios/hops.js';
import { jobs } from './scenarios/jobs.js';
import { lateWrites } from './scenarios/late-writes.js';
import { leases } from './scenarios/leases.js';
import { powerCuts } from './scenarios/power-cut.js';
import { kills, stops } from './scenarios/processes.js';
import { redisClock } from './scenarios/redis-clock.js';
import { redisTrouble } from './scenarios/redis-trouble.js';
import { remotePool } from './scenarios/remote-pool.js';
import { rollingRestart } from './scenarios/rolling-restart.js';

/** All scenarios, in the order of a run. */
export const SCENARIOS: readonly Scenario[] = [
  kills,
  stops,
  writeHops,
  readHops,
  leases,
  lateWrites,
  history,
  jobs,
  forgets,
  rollingRestart,
  remotePool,
  ...failoverScenarios,
  address,
  ...powerCuts,
  redisTrouble,
  clocks,
  redisClock,
  fullDisk,
  bundleFiles,
];
