import type { FleetFigures, ProcessFigures } from '@collectivekv/fleet-metrics';
import type { FleetPoint, ReplicaView } from '../views.js';

/** Returns the figures of the fleet between two looks. */
export function pointOf({ processes, rank, interactions }: FleetFigures, atMs: number): FleetPoint {
  const has = (service: string) => processes.some((one) => one.service === service);
  const ofRanking = (value: number | undefined) => (has('ranking') ? (value ?? 0) : null);
  return {
    atMs,
    ranksPerS: ofRanking(rank.perS),
    rankP50Ms: milliseconds(rank.seconds.p50),
    rankP99Ms: milliseconds(rank.seconds.p99),
    interactionsPerS: has('updater') ? interactions.perS : null,
    freshP50Ms: milliseconds(interactions.servableSeconds.p50),
    freshP99Ms: milliseconds(interactions.servableSeconds.p99),
    oldestWaitingS: orNull(interactions.oldestS),
    fullPerS: ofRanking(rank.rungs.full),
    recentOnlyPerS: ofRanking(rank.rungs.recent_only),
    noHistoryPerS: ofRanking(rank.rungs.no_history),
  };
}

/**
 * Returns the figures of a replica.
 * @param names of bundles by id
 * @param hasRates false at the first look, which knows no rates
 */
export function replicaView(one: ProcessFigures, names: ReadonlyMap<string, string>, hasRates: boolean): ReplicaView {
  const known = one.problem === '';
  const rate = (value: number) => (known && hasRates ? orNull(value) : null);
  const nameOf = (id: string) => ({ id, name: names.get(id) ?? '' });
  return {
    service: one.service,
    address: one.target,
    problem: known ? null : one.problem,
    upS: orNull(one.upSeconds),
    residentBytes: known ? one.memoryBytes : null,
    cpu: rate(one.cores),
    loopP99Ms: milliseconds(one.loopP99Seconds),
    callsPerS: rate(one.callsPerS),
    p50Ms: milliseconds(one.callSeconds.p50),
    p99Ms: milliseconds(one.callSeconds.p99),
    failedShare: rate(one.failedShare),
    bundles: [
      ...one.bundles.map(({ bundleId, state }) => ({ ...nameOf(bundleId), state, loaded: true })),
      ...one.loadingIds.map((id) => ({ ...nameOf(id), state: '', loaded: false })),
    ],
    partitions: orNull(one.heldPartitions),
  };
}

function milliseconds(seconds: number): number | null {
  return orNull(1_000 * seconds);
}

function orNull(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}
