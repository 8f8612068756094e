import { setTimeout as sleep } from 'node:timers/promises';
import { fullKvBytes, invalidRequest, parseManifest, steadyNowMs } from '@collectivekv/domain';
import { fleetFigures, type Scrape, scrapeAll } from '@collectivekv/fleet-metrics';
import { Command } from 'commander';
import type { Connections } from './connections.js';
import { wholeNumber } from './number-options.js';
import { type RecordFigures, topText } from './top-text.js';

/** Records that are counted, and how often. */
const COUNTED_RECORDS = 1_000;
const COUNT_EVERY_MS = 10_000;
const DEADLINE_MS = 2_000;
const CLEAR = '\u001b[H\u001b[2J';

/** Creates `ckv top`. */
export function topCommand(connections: Connections): Command {
  return new Command('top')
    .description('show rates, times, freshness, the queue and the bundles of all processes, again and again')
    .option(
      '--metrics <list>',
      'addresses of the /metrics of all processes, host:port, with commas between them; default CKV_METRICS_TARGETS, or those of "npm start"',
    )
    .option('--every <seconds>', 'seconds between two looks, 1 to 60', wholeNumber(1, 60), 2)
    .option('--once', 'look twice, print once, and end; so does --json')
    .action(async ({ metrics, every, once }: { metrics?: string; every: number; once?: boolean }) => {
      const targets = metricsTargets(metrics ?? process.env.CKV_METRICS_TARGETS, connections.metricsTargets);
      const countRecords = recordCounter(connections);
      let before: readonly Scrape[] = await scrapeAll(targets);
      for (;;) {
        const [records] = await Promise.all([countRecords(), sleep(every * 1_000)]);
        const now = await scrapeAll(targets);
        const figures = fleetFigures(before, now);
        const repeats = !once && !connections.json;
        if (repeats && process.stdout.isTTY) process.stdout.write(CLEAR);
        connections.print({ ...figures, records }, () => `${new Date().toISOString()}\n\n${topText(figures, records)}`);
        if (!repeats) return;
        before = now;
      }
    });
}

/**
 * Reads a list of addresses.
 * @param running those of a system that `npm start` runs
 * @throws invalid_request if there are none, or one is not `host:port`
 */
export function metricsTargets(given: string | undefined, running: readonly string[]): readonly string[] {
  const targets = given ? given.split(',').map((target) => target.trim()) : running;
  if (targets.length === 0) {
    throw invalidRequest(
      '--metrics',
      'is not given',
      'name the CKV_METRICS_BIND addresses of all processes; a service prints its own as metricsAddress when it starts',
    );
  }
  for (const target of targets) {
    if (/^[^\s/]+:\d{1,5}$/.test(target)) continue;
    throw invalidRequest(
      '--metrics',
      `has "${target}", which is not host:port`,
      'name addresses such as 10.0.0.1:9090',
    );
  }
  return targets;
}

/** Returns a function that counts records of the active encoding now and then. They are left out if it fails. */
function recordCounter(connections: Connections): () => Promise<RecordFigures | undefined> {
  let known: RecordFigures | undefined;
  let countedMs = Number.NEGATIVE_INFINITY;
  return async () => {
    if (steadyNowMs() - countedMs < COUNT_EVERY_MS) return known;
    countedMs = steadyNowMs();
    known = await countRecords(connections).catch(() => undefined);
    return known;
  };
}

async function countRecords(connections: Connections): Promise<RecordFigures> {
  const limits = { deadlineMs: steadyNowMs() + DEADLINE_MS };
  const { encodingId, manifest } = await connections.pool().call('Describe', { bundleId: '' }, limits);
  const stats = await connections.userCache().call('Stats', { encodingId, maxRecords: COUNTED_RECORDS }, limits);
  const bytesPerPosition = stats.memoryBytes / stats.positionCount;
  const share = bytesPerPosition / fullKvBytes(parseManifest(manifest));
  return { bytesPerPosition, share, recordCount: stats.recordCount };
}
