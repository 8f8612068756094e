import { fileURLToPath } from 'node:url';
import { openBundle } from '@collectivekv/bundles';
import { keyMemory, tableBytes } from '@collectivekv/redis-memory';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Plan } from './figure.js';
import { makePlan } from './make-plan.js';
import type { PlanInput, PlannedBundle } from './plan-input.js';
import { planText, valueText } from './print-plan.js';
import type { ServiceCosts } from './service-costs.js';

const GIB = 2 ** 30;
const INPUT: PlanInput = {
  users: 1_000_000,
  lengths: [{ positions: 1_000, share: 1 }],
  ratePerS: 2_000,
  ranksPerS: 500,
  candidates: 500,
  callInteractions: 1,
  keyedCalls: false,
  lagS: 600,
  eventLogS: 0,
  erasuresPerDay: 0,
  receiptTtlS: 86_400,
  userIdBytes: 36,
  itemIdBytes: 5,
  eventIdBytes: 36,
  keyPrefix: 'ckv',
  encodings: 1,
  redisReplicas: 1,
  serverBytes: 64 * GIB,
  cores: 4,
  utilisation: 0.5,
  spare: 1,
};
const COSTS: ServiceCosts = {
  machine: 'a machine',
  workload: 'a workload',
  rank: { ranking: { cpuMs: 2, mainThreadMs: 0.5 }, recordsRedisMs: 0.1 },
  interaction: {
    updater: { cpuMs: 0.25, mainThreadMs: 0.2 },
    'user-cache': { cpuMs: 0.1 },
    recordsRedisMs: 0.05,
    queueRedisMs: 0.1,
  },
  residentBytes: { ranking: 1, updater: 1, 'user-cache': 1, pool: 1 },
  recordUsedBytes: 3_700,
};

let bundle: PlannedBundle;
beforeAll(async () => {
  const { model } = await openBundle(fileURLToPath(new URL('../../../../bundles/demo', import.meta.url)));
  bundle = { id: model.id, manifest: model.manifest, strideBytes: model.layout.strideBytes };
});

function planOf(changes: Partial<PlanInput> = {}, costs: ServiceCosts | undefined = COSTS): Plan {
  return makePlan({ ...INPUT, ...changes }, bundle, costs);
}

function figure(plan: Plan, id: string): number {
  const found = plan.sections.flatMap(({ figures }) => figures).find((one) => one.id === id);
  if (!found) throw new Error(`no figure ${id}`);
  return found.value;
}

describe('records', () => {
  it('are those of the record layout, with key, TTL and tables', () => {
    const plan = planOf();
    const length = 30 + 14 * 6 + 1_000 * 3;
    const keyLength = `ckv:{${'u'.repeat(36)}}:01234567`.length;
    const { usedBytes } = keyMemory({ keyLength, value: { kind: 'string', length }, expires: true });
    expect(figure(plan, 'records.recordBytes')).toBe(length);
    expect(figure(plan, 'records.userBytes')).toBe(usedBytes);
    expect(figure(plan, 'records.redisBytes')).toBe(1e6 * usedBytes + 2 * tableBytes(1e6));
  });

  it('are the mean over the lengths, and are kept for every encoding', () => {
    const [short, long] = [100, 1_000].map((positions) => planOf({ lengths: [{ positions, share: 1 }] }));
    const lengths = [
      { positions: 100, share: 0.75 },
      { positions: 1_000, share: 0.25 },
    ];
    const mixed = planOf({ lengths, encodings: 2 });
    const mean = 0.75 * figure(short as Plan, 'records.userBytes') + 0.25 * figure(long as Plan, 'records.userBytes');
    expect(figure(mixed, 'records.userBytes')).toBeCloseTo(mean);
    expect(figure(mixed, 'records.encodingsBytes')).toBe(2 * figure(mixed, 'records.redisBytes'));
  });

  it('are compared with full caches of the same positions', () => {
    const plan = planOf();
    expect(figure(plan, 'records.fullFp32Bytes')).toBeGreaterThan(1e6 * 1_000 * 2_048);
    expect(figure(plan, 'records.fullFp32Times')).toBeCloseTo(
      figure(plan, 'records.fullFp32Bytes') / figure(plan, 'records.redisBytes'),
    );
  });
});

describe('the queue', () => {
  it('holds what arrives in the lag, and remembers each job for minutes or an hour', () => {
    const plan = planOf();
    expect(figure(plan, 'queue.waitingJobs')).toBe(2_000 * 600);
    expect(figure(plan, 'queue.waitingBytes')).toBeCloseTo(1.2e6 * figure(plan, 'queue.jobBytes'));
    const keyed = planOf({ keyedCalls: true });
    expect(figure(keyed, 'queue.rememberedBytes')).toBeGreaterThan(60 * figure(plan, 'queue.rememberedBytes'));
  });

  it('has a job for each partition that a call reaches', () => {
    expect(figure(planOf({ callInteractions: 2 }), 'queue.jobsPerS')).toBeCloseTo(1_000 * (2 - 1 / 16));
    expect(figure(planOf({ callInteractions: 500 }), 'queue.jobsPerS')).toBeCloseTo(4 * 16);
  });

  it('has the event log of its age', () => {
    const [hour, none] = [planOf({ eventLogS: 3_600 }), planOf()];
    const logged = figure(hour, 'queue.eventLogBytes');
    expect(logged / (2_000 * 3_600)).toBeGreaterThan(36 + 36); // more than its ids
    expect(figure(hour, 'queue.redisBytes') - figure(none, 'queue.redisBytes')).toBeCloseTo(logged);
  });

  it('keeps receipts for their time', () => {
    const plan = planOf({ erasuresPerDay: 1_000, receiptTtlS: 10 * 86_400 });
    const one = planOf({ erasuresPerDay: 1, receiptTtlS: 86_400 });
    expect(figure(plan, 'queue.receiptBytes')).toBeCloseTo(10_000 * figure(one, 'queue.receiptBytes'));
  });
});

describe('services', () => {
  it('have replicas by their cores, or by their main thread if that is busy first', () => {
    const plan = planOf();
    expect(figure(plan, 'services.ranking.perReplica')).toBe(1_000); // 50 % of 4 cores at 2 ms, or of one at 0.5 ms
    expect(figure(plan, 'services.ranking.replicas')).toBe(2);
    expect(figure(planOf({ cores: 8 }), 'services.ranking.perReplica')).toBe(1_000); // the main thread
    expect(figure(planOf({ ranksPerS: 1_001 }), 'services.ranking.replicas')).toBe(3);
    expect(figure(plan, 'services.updater.perReplica')).toBe(2_500);
    expect(figure(plan, 'services.user-cache.perReplica')).toBe(20_000); // its main thread was not measured
    expect(figure(planOf({ spare: 0 }), 'services.pool.replicas')).toBe(1);
    expect(figure(plan, 'services.recordBytes')).toBe(3_700);
  });

  it('have a power of two of partitions, at least 8 for each updater', () => {
    expect(figure(planOf(), 'services.partitions')).toBe(16);
    expect(figure(planOf({ ratePerS: 10_000 }), 'services.partitions')).toBe(64); // 5 updaters
    const most = planOf({ ratePerS: 1e7 });
    expect(figure(most, 'services.partitions')).toBe(1_024);
    expect(most.warnings.join()).toContain('cannot share 1024 partitions');
  });

  it('are left out without measured figures, and the plan says so', () => {
    const plan = makePlan(INPUT, bundle, undefined);
    expect(plan.sections.map(({ title }) => title)).not.toContain('Services');
    expect(plan.warnings).toEqual([expect.stringContaining('add --measure')]);
    expect(plan.sections.flatMap(({ figures }) => figures).filter(({ source }) => source === 'measured')).toEqual([]);
  });
});

describe('Redis', () => {
  it('has as many primaries as the memory needs', () => {
    const plan = planOf({ users: 100_000_000, serverBytes: 64 * GIB });
    const primaries = figure(plan, 'redis.primaries');
    expect(primaries).toBeGreaterThan(5);
    expect(figure(plan, 'redis.serverBytes')).toBeLessThanOrEqual(64 * GIB);
    const fewer = planOf({ users: 100_000_000 * (1 - 1.1 / primaries), serverBytes: 64 * GIB });
    expect(figure(fewer, 'redis.primaries')).toBe(primaries - 1);
    expect(figure(plan, 'redis.servers')).toBe(2 * primaries);
  });

  it('has as many primaries as the load needs', () => {
    const plan = planOf({ ranksPerS: 20_000 }); // 2.1 cores, of which half is used
    expect(figure(plan, 'redis.primaries')).toBe(5);
  });

  it('copies no more pages than it has', () => {
    const plan = planOf({ ratePerS: 1e6 });
    expect(figure(plan, 'redis.forkBytes')).toBe(figure(plan, 'records.redisBytes') / figure(plan, 'redis.primaries'));
    expect(figure(planOf({ ratePerS: 0 }), 'redis.forkBytes')).toBe(0);
  });

  it('warns if the one server of the queue is too slow or too small, or records need too many', () => {
    expect(planOf().warnings).toEqual([]);
    expect(planOf({ ratePerS: 6_000 }).warnings.join()).toContain('0.6 cores of Redis');
    expect(planOf({ lagS: 86_400 }).warnings.join()).toContain('does not fit a machine of 64 GiB');
    expect(planOf({ users: 1e11 }).warnings.join()).toContain('more than 500 primaries');
    expect(planOf({ serverBytes: 2 ** 27 }).warnings.join()).toContain('more than 500 primaries');
  });
});

it('is printed with sources', () => {
  const text = planText(planOf());
  expect(text).toMatch(/ranking: processor time of a rank request +2 ms +measured +a machine/);
  expect(text).toMatch(/a row +3 B +computed/);
  expect([valueText(1_234_567, 'bytes'), valueText(999, 'bytes/s'), valueText(0.123_45, 'ms')]).toEqual([
    '1.23 MB',
    '999 B/s',
    '0.123 ms',
  ]);
});
