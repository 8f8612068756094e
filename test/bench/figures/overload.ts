import { setInterval as every } from 'node:timers/promises';
import type { ServiceProcess } from '@collectivekv/dev-stack';
import type { Bench } from '../bench-context.js';
import { type Door, openDoors } from '../flood/doors.js';
import type { FloodPhaseResult } from '../flood/plan.js';
import { runFlood } from '../flood/run-flood.js';
import { readMetrics } from '../usage.js';

/** The sustainable load, as a share of the rate that a closed loop reaches. */
const SUSTAINABLE_SHARE = 0.8;
const CLOSED_LOOP_IN_FLIGHT = 16;
const TIMES = 10;
/** The flood lasts so many slices: a minute in a whole run. */
const FLOOD_SLICES = 6;
const CONNECTIONS = 8;
const SAMPLE_MS = 500;

/** Sends ten times the sustainable load to each door, and compares with the sustainable load before and after it. */
export async function overload(bench: Bench): Promise<void> {
  for (const door of await openDoors(bench)) {
    bench.progress(`overload of ${door.name}: sustainable rate`);
    await flood(bench, door);
  }
}

async function flood(bench: Bench, door: Door): Promise<void> {
  const { service, answersCounter, name, ...sent } = door;
  const { sliceMs } = bench.options;
  const port = Number(service.address.split(':').at(-1));
  const plan = { ...sent, port, connections: CONNECTIONS, seed: 1 };
  const closed = { inFlight: CLOSED_LOOP_IN_FLIGHT, durationMs: sliceMs / 2 };
  const before = await runFlood({
    ...plan,
    phases: [
      { name: 'warm-up', ...closed },
      { name: 'capacity', ...closed },
    ],
  });
  const capacity = before.phases[1] as FloodPhaseResult;
  const sustainable = (SUSTAINABLE_SHARE * capacity.answered * 1_000) / closed.durationMs;
  bench.progress(`overload of ${name}: ${Math.round(TIMES * sustainable)} per second`);
  const answersBefore = answersCounter ? await totalOf(service, answersCounter) : 0;
  const memory = watchMemory(service);
  const { phases, processorSeconds } = await runFlood({
    ...plan,
    seed: 2,
    phases: [
      { name: 'normal', ratePerS: sustainable, durationMs: sliceMs },
      { name: 'overload', ratePerS: TIMES * sustainable, durationMs: FLOOD_SLICES * sliceMs },
      { name: 'after', ratePerS: sustainable, durationMs: sliceMs },
    ],
  });
  const peakBytes = await memory.peak();
  const [normal, flooded, after] = phases as [FloodPhaseResult, FloodPhaseResult, FloodPhaseResult];
  for (const { windows, ...phase } of phases) bench.progress(JSON.stringify(phase));
  const seconds = (FLOOD_SLICES * sliceMs) / 1_000;
  const about = { door: name };
  const add = (figure: string, value: number, unit = '', target = '') =>
    bench.add(`overload_${figure}`, about, value, unit, target);
  add('sustainable', sustainable, '/s');
  add('offered', flooded.sent / seconds, '/s');
  add('normal_p50', normal.answeredMs.p50, 'ms');
  add('normal_p99', normal.answeredMs.p99, 'ms');
  add('admitted', flooded.answered / seconds, '/s');
  add('admitted_p50', flooded.answeredMs.p50, 'ms');
  add('admitted_p99', flooded.answeredMs.p99, 'ms');
  add('admitted_p99_over_normal', flooded.answeredMs.p99 / normal.answeredMs.p99, '', '<= 2');
  add('refused', flooded.refused / flooded.sent);
  add('refused_with_delay', flooded.refusedWithDelay / Math.max(1, flooded.refused), '', '>= 1');
  add('refusal_p99', flooded.refusedMs.p99, 'ms');
  add('late', flooded.late / flooded.sent);
  const failed = Object.values(flooded.failed).reduce((sum, count) => sum + count, 0);
  add('failed', failed / flooded.sent);
  if (answersCounter) {
    const answered = phases.reduce((sum, phase) => sum + phase.answered, 0);
    const useless = (await totalOf(service, answersCounter)) - answersBefore - answered;
    add('answers_in_vain', useless, '', '<= 0');
  }
  add('peak_memory', peakBytes / 1e6, 'MB');
  add('recovery', recoveryMs(normal, after), 'ms', '<= 5000');
  add('load_generator', processorSeconds / (seconds + (2 * sliceMs) / 1_000), 'cores');
}

/**
 * Returns how long after the flood the first good window began, ms. In a good window, all requests are answered, and
 * half of them within the p99 from before the flood. Infinity without one.
 */
function recoveryMs(normal: FloodPhaseResult, after: FloodPhaseResult): number {
  const found = after.windows.find(
    ({ answered, notAnswered, answeredP50 }) =>
      answered > 0 && notAnswered === 0 && answeredP50 <= normal.answeredMs.p99,
  );
  return found?.atMs ?? Number.POSITIVE_INFINITY;
}

/** Returns the sum of a counter over its labels. */
async function totalOf({ metricsAddress }: ServiceProcess, name: string): Promise<number> {
  const text = await (await fetch(`http://${metricsAddress}/metrics`)).text();
  const values = [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)`, 'gm'))].map(([, value]) => Number(value));
  return values.reduce((sum, value) => sum + value, 0);
}

/** Samples the resident memory of a service until `peak` is called. */
function watchMemory(service: ServiceProcess): { peak(): Promise<number> } {
  const ended = new AbortController();
  let peakBytes = 0;
  const sample = async () => {
    const metric = await readMetrics(service);
    peakBytes = Math.max(peakBytes, metric('process_resident_memory_bytes'));
  };
  const sampling = (async () => {
    for await (const _ of every(SAMPLE_MS, undefined, { signal: ended.signal })) await sample();
  })().catch((error: unknown) => {
    if (!ended.signal.aborted) throw error;
  });
  return {
    async peak() {
      ended.abort();
      await sampling;
      await sample();
      return peakBytes;
    },
  };
}
