// A fleet under load: every service is scaled from one replica to three and back, and rolled one by one. No call fails, no
// interaction is lost, and three replicas share the calls.
import { createCollectiveKvClient } from '@collectivekv/client';
import type { ServiceProcess, ServiceProcessName } from '@collectivekv/dev-stack';
import { fleetFigures, type Scrape, scrapeAll } from '@collectivekv/fleet-metrics';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type E2eStack, interactionsOf, startE2e } from './e2e-stack.js';

const SERVICES: readonly ServiceProcessName[] = ['pool', 'user-cache', 'ranking', 'updater'];
const USERS = Array.from({ length: 40 }, (_, i) => `user-${i}`);
/** Most that a replica may have over or under its share of the calls. */
const SPREAD = 0.2;

let e2e: E2eStack;
let load: Load;
beforeAll(async () => {
  e2e = await startE2e({ replicas: Object.fromEntries(SERVICES.map((name) => [name, 3])) });
  await scaleDown();
  load = startLoad();
}, 120_000);
afterAll(async () => {
  await load?.stop();
  await e2e?.close();
});

/** Callers that rank and record without a pause. */
interface Load {
  readonly rankCount: number;
  readonly failures: readonly unknown[];
  /** Interactions recorded, by user. */
  readonly recorded: ReadonlyMap<string, number>;
  stop(): Promise<void>;
}

function startLoad(): Load {
  const { ranking, updater } = e2e.stack.targets;
  const client = createCollectiveKvClient({
    rankingTarget: ranking,
    interactionTarget: updater,
    rankTimeoutMs: 10_000,
    recordTimeoutMs: 10_000,
  });
  const recorded = new Map<string, number>();
  const failures: unknown[] = [];
  let [running, rankCount] = [true, 0];
  const repeat = async (work: () => Promise<unknown>) => {
    while (running) await work().catch((error: unknown) => failures.push(error));
  };
  const rank = (userId: string) =>
    repeat(async () => {
      await client.rank({ userId, candidateIds: ['i0001', 'i0002'] });
      rankCount++;
    });
  const record = (users: readonly string[]) =>
    repeat(async () => {
      const from = recorded.get(users[0] ?? '') ?? 0;
      await client.recordInteractions(users.flatMap((userId) => interactionsOf(userId, 2, from)));
      for (const userId of users) recorded.set(userId, from + 2);
    });
  const lanes = [...USERS.slice(0, 4).map(rank), record(USERS.slice(0, 20)), record(USERS.slice(20))];
  return {
    get rankCount() {
      return rankCount;
    },
    failures,
    recorded,
    async stop() {
      running = false;
      await Promise.all(lanes);
      client.close();
    },
  };
}

const replicasOf = (name: ServiceProcessName): readonly ServiceProcess[] => e2e.stack.services[name];
const all = (): ServiceProcess[] => SERVICES.flatMap(replicasOf);
const others = (): ServiceProcess[] => SERVICES.flatMap((name) => replicasOf(name).slice(1));

async function scaleDown(): Promise<void> {
  await Promise.all(others().map((service) => service.kill('SIGTERM')));
}

async function scaleUp(): Promise<void> {
  await Promise.all(others().map((service) => service.restart()));
  await Promise.all(others().map((service) => service.untilReady(60_000)));
}

/** Waits until some more calls were answered. */
async function untilRanked(count: number): Promise<void> {
  const before = load.rankCount;
  await expect.poll(() => load.rankCount, { timeout: 60_000 }).toBeGreaterThan(before + count);
}

const scrape = (services: readonly ServiceProcess[]): Promise<Scrape[]> =>
  scrapeAll(services.map(({ metricsAddress }) => metricsAddress));

it('answers every call while it grows from one replica to three', async () => {
  await untilRanked(100);
  await scaleUp();
  await untilRanked(100);
  expect(load.failures).toEqual([]);
});

it('shares the calls of three replicas, once the new ones are found', async () => {
  const furthest = async () => {
    const before = await scrape(replicasOf('ranking'));
    await untilRanked(1_500);
    const { processes } = fleetFigures(before, await scrape(replicasOf('ranking')));
    const rates = processes.map(({ callsPerS }) => callsPerS);
    const share = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
    return Math.max(...rates.map((rate) => Math.abs(rate / share - 1)));
  };
  await expect.poll(furthest, { timeout: 60_000, interval: 0 }).toBeLessThan(SPREAD);
  const held = async () => {
    const scrapes = await scrape(replicasOf('updater'));
    return scrapes.map(({ samples }) => samples.find(({ name }) => name === 'ckv_held_partitions')?.value ?? 0).sort();
  };
  await expect.poll(held, { timeout: 60_000 }).toEqual([5, 5, 6]);
});

it('answers every call while each replica is replaced, one by one', async () => {
  for (const service of all()) {
    await service.kill('SIGTERM');
    await service.restart();
    await service.untilReady(60_000);
    await untilRanked(20);
  }
  expect(load.failures).toEqual([]);
});

it('answers every call while it shrinks to one replica, and has applied every interaction in order', async () => {
  await scaleDown();
  await untilRanked(100);
  await load.stop();
  expect(load.failures).toEqual([]);
  for (const userId of USERS) {
    const count = load.recorded.get(userId) ?? 0;
    const record = await e2e.untilApplied(userId, count, 60_000);
    expect(record.lifetimeCount).toBe(count);
    await e2e.expectRows(record, interactionsOf(userId, count));
  }
});
