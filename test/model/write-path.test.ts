import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createMetrics } from '@collectivekv/service-kit';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { createUpdaterMetrics } from '../../services/updater/src/metrics.js';
import { createUserCacheMetrics } from '../../services/user-cache/src/metrics.js';
import { arbitrarySetting, arbitrarySteps } from './arbitrary-steps.js';
import { KNOWN_SCHEDULES } from './known-schedules.js';
import { createModelBundle } from './model-bundles.js';
import { withModelClock } from './model-clock.js';
import { type RunCounts, runModel } from './model-run.js';
import { createLinkPool } from './redis-link.js';
import { chosenSabotage, SABOTAGES, type Sabotage, scriptWithout } from './sabotages.js';
import { dateNow, performanceNow, random } from './virtual-time.js';
import type { Bench } from './write-path.js';

vi.mock('node:timers/promises', async () => (await import('./virtual-time.js')).timersPromises);
// Names of members decide who takes how many partitions.
vi.mock('node:crypto', async (original) => {
  const { nextUuid } = await import('./virtual-time.js');
  return { ...(await original<object>()), randomUUID: nextUuid };
});

const RUNS = Number(process.env.CKV_MODEL_RUNS ?? 200);
/** No run begins after this time. */
const LIMIT_S = Number(process.env.CKV_MODEL_SECONDS ?? 15);
/** Time to find a shorter schedule after a failure. */
const SHORTEN_S = 60;
const SEED = Number(process.env.CKV_MODEL_SEED ?? Math.floor(Math.random() * 2 ** 31));

let server: PrivateRedis;
let redis: RedisClient;
let bench: Bench;
beforeAll(async () => {
  server = await startTemporaryRedis({ fsync: 'no' });
  redis = await connectedRedis(server.url, { field: 'url', name: 'model', whenAway: 'fail' });
  const plain = createModelBundle('plain', {});
  bench = {
    redis,
    bundles: {
      one: [plain],
      two: [plain, createModelBundle('previous', { maxPositions: 399 })],
      twins: [plain, createModelBundle('retrained', {})],
      history: [createModelBundle('history', { withHistory: true })],
    },
    updaterMetrics: createUpdaterMetrics(createMetrics('model')),
    cacheMetrics: createUserCacheMetrics(createMetrics('model')),
    links: openLinks(chosenSabotage()),
  };
  vi.spyOn(Date, 'now').mockImplementation(dateNow);
  vi.spyOn(performance, 'now').mockImplementation(performanceNow);
  vi.spyOn(Math, 'random').mockImplementation(random);
});
afterAll(async () => {
  vi.restoreAllMocks();
  closeRedis(redis);
  await server.stop();
});

/** Opens links whose scripts ask the model's clocks. */
function openLinks(sabotage: Sabotage | undefined): Bench['links'] {
  const pool = (clock: keyof Bench['links']) =>
    createLinkPool(redis, (name, lua) => withModelClock(scriptWithout(sabotage, name, lua), clock));
  return { queue: pool('queue'), records: pool('records') };
}

const noCounts = (): RunCounts => ({ runs: 0, steps: 0, happenings: 0, interactions: 0, late: 0 });

const known = KNOWN_SCHEDULES.map((schedule) => [schedule.title, schedule] as const);
it.each(known)('keeps its promises %s', (_, { setting, steps }) => runModel(bench, setting, steps, noCounts()));

const inScripts = SABOTAGES.filter(({ file }) => file.endsWith('.lua')).map(
  (sabotage) => [sabotage.name, sabotage] as const,
);
it.each(inScripts)('breaks a promise without %s', async (_, sabotage) => {
  const schedule = KNOWN_SCHEDULES.find(({ title }) => title === sabotage.noticed);
  if (!schedule) throw new Error(`no schedule "${sabotage.noticed}"`);
  const broken = runModel({ ...bench, links: openLinks(sabotage) }, schedule.setting, schedule.steps, noCounts());
  await expect(broken).rejects.toThrow(/^Violation: /);
});

it('keeps its promises in random schedules of calls, faults and time', {
  timeout: (LIMIT_S + 200) * 1_000,
}, async () => {
  console.log(`model: seed ${SEED}, at most ${RUNS} runs and ${LIMIT_S} s`);
  const counts = noCounts();
  let endMs = performance.now() + LIMIT_S * 1_000;
  let hasFailed = false;
  const property = fc.asyncProperty(arbitrarySetting, arbitrarySteps, async (setting, steps) => {
    // Not fast-check's own limit, which would leave a run behind.
    if (performance.now() > endMs) return;
    try {
      await runModel(bench, setting, steps, counts);
    } catch (error) {
      if (!hasFailed) endMs = performance.now() + SHORTEN_S * 1_000;
      hasFailed = true;
      throw error;
    }
  });
  await fc.assert(property, { seed: SEED, numRuns: RUNS });
  console.log(`model: ${JSON.stringify(counts)}`);
  expect(counts.runs).toBeGreaterThan(0);
});
