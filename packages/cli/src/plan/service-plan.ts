import { DEFAULT_PARTITION_COUNT, MAX_PARTITION_COUNT } from '@collectivekv/update-queue';
import { createSection, type Section } from './figure.js';
import type { PlanInput } from './plan-input.js';
import type { CostedService, ProcessCost, ServiceCosts } from './service-costs.js';

/** Replicas of the services, and partitions of the queue. */
export interface ServicePlan {
  readonly section: Section;
  readonly partitionCount: number;
  readonly warnings: readonly string[];
}

/**
 * Partitions for each updater. The shares of updaters differ by one partition, so by a quarter at most, also after the
 * number of updaters has doubled: the number of partitions is hard to change.
 */
const PARTITIONS_PER_UPDATER = 8;

/** Computes how many replicas carry the load, from the measured processor time of a request and an interaction. */
export function planServices(input: PlanInput, costs: ServiceCosts): ServicePlan {
  const { ratePerS, ranksPerS, cores, utilisation, spare } = input;
  const { section, computed, measured, assumed } = createSection('Services', 'services');
  const warnings: string[] = [];

  function plan(name: CostedService, work: string, loadPerS: number, cost: ProcessCost): number {
    const { cpuMs, mainThreadMs } = cost;
    const { machine } = costs;
    measured(`${name}.cpuMs`, `${name}: processor time of ${work}`, cpuMs, 'ms', machine);
    const byCores = (cores * utilisation * 1_000) / cpuMs;
    if (mainThreadMs !== undefined) {
      measured(`${name}.mainThreadMs`, `${name}: of it in the main thread`, mainThreadMs, 'ms', machine);
    }
    const byThread = mainThreadMs === undefined ? Number.POSITIVE_INFINITY : (utilisation * 1_000) / mainThreadMs;
    const perReplica = Math.min(byCores, byThread);
    const bound = byThread < byCores ? 'its main thread' : `its ${cores} cores`;
    const basis = `${utilisation * 100} % of ${bound}`;
    computed(`${name}.perReplica`, `${name}: ${work} per second and replica`, perReplica, '/s', basis);
    const needed = Math.max(1, Math.ceil(loadPerS / perReplica));
    const count = needed + spare;
    computed(`${name}.replicas`, `${name}: replicas`, count, 'count', `${needed} for the load, ${spare} spare`);
    return needed;
  }

  assumed('spare', 'spare replicas of each service', spare, 'count', 'one may fail or restart under full load');
  plan('ranking', 'a rank request', ranksPerS, costs.rank.ranking);
  const updaters = plan('updater', 'an interaction', ratePerS, costs.interaction.updater);
  plan('user-cache', 'an interaction', ratePerS, costs.interaction['user-cache']);
  computed('pool.replicas', 'pool: replicas', 1 + spare, 'count', 'the others keep a copy of the bundle');
  for (const [name, bytes] of Object.entries(costs.residentBytes)) {
    measured(`${name}.residentBytes`, `${name}: memory of a replica`, bytes, 'bytes', costs.machine);
  }
  measured('recordBytes', 'a record in Redis, as it was measured', costs.recordUsedBytes, 'bytes', costs.workload);
  const wanted = Math.max(DEFAULT_PARTITION_COUNT, PARTITIONS_PER_UPDATER * (updaters + spare));
  const partitionCount = Math.min(MAX_PARTITION_COUNT, 2 ** Math.ceil(Math.log2(wanted)));
  const basis = `a power of two, at least ${PARTITIONS_PER_UPDATER} for each updater and ${DEFAULT_PARTITION_COUNT}`;
  computed('partitions', 'CKV_PARTITIONS', partitionCount, 'count', basis);
  if (updaters + spare > MAX_PARTITION_COUNT) {
    warnings.push(
      `${updaters + spare} updaters cannot share ${MAX_PARTITION_COUNT} partitions: divide the users among queues`,
    );
  }
  return { section, partitionCount, warnings };
}
