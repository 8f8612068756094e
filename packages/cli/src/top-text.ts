import { counted } from '@collectivekv/domain';
import type { FleetFigures, ProcessFigures, Quantiles } from '@collectivekv/fleet-metrics';
import { pairs, table } from './print.js';

/** What the records of the active bundle's encoding take in Redis. */
export interface RecordFigures {
  readonly bytesPerPosition: number;
  /** Share of a full KV cache in float32. */
  readonly share: number;
  /** Records that were counted. */
  readonly recordCount: number;
}

/** Returns the page of `ckv top`. `records` is undefined if they cannot be counted. */
export function topText(figures: FleetFigures, records: RecordFigures | undefined): string {
  const { rank, interactions, redisSeconds, bundles } = figures;
  const facts = pairs([
    ['rank', `${perS(rank.perS)} calls, ${percent(rank.failedShare)} failed; ${times(rank.seconds)}`],
    [
      '',
      `${perS(rank.candidatesPerS)} candidates; mean history ${digits(rank.positions)} positions, ${bytes(rank.recordBytes)}`,
    ],
    ['rungs', listOf(rank.rungs, perS)],
    ['stages p99', listOf(rank.stages, time)],
    [
      'interactions',
      `${perS(interactions.perS)} applied; from the queue to the records ${times(interactions.servableSeconds)}`,
    ],
    [
      'queue',
      `${digits(interactions.waitingJobs)} jobs wait, the oldest for ${time(interactions.oldestS)}; ` +
        `${digits(interactions.heldPartitions)} partitions held; ${perS(interactions.setAsidePerS)} set aside`,
    ],
    ['Redis', times(redisSeconds)],
    ['records', recordText(records)],
    [
      'bundles',
      bundles.map(({ loadedCount, ...one }) => `${one.name} ${one.bundleId}, ${loadedText(loadedCount)}`).join('; ') ||
        '-',
    ],
  ]);
  return `${facts}\n\n${table(HEAD, figures.processes.map(rowOf))}`;
}

const HEAD = ['service', 'metrics', 'calls/s', 'failed', 'p50', 'p99', 'cores', 'memory', 'active bundle'];

function rowOf({ service, target, problem, ...figures }: ProcessFigures): string[] {
  if (problem) return ['?', target, problem, '', '', '', '', '', ''];
  return [
    service,
    target,
    digits(figures.callsPerS),
    percent(figures.failedShare),
    time(figures.callSeconds.p50),
    time(figures.callSeconds.p99),
    digits(figures.cores),
    bytes(figures.memoryBytes),
    figures.bundles.find(({ state }) => state === 'active')?.bundleId ?? '-',
  ];
}

function loadedText(count: number): string {
  return `loaded by ${counted(count, 'process', 'processes')}`;
}

function recordText(records: RecordFigures | undefined): string {
  if (!records) return 'not counted: the user-cache and the pool did not answer';
  const { bytesPerPosition, share, recordCount } = records;
  if (recordCount === 0) return 'none of the active encoding';
  return `${digits(bytesPerPosition)} bytes a position, ${percent(share)} of a full KV cache (${recordCount} records counted)`;
}

function listOf(values: Readonly<Record<string, number>>, text: (value: number) => string): string {
  const entries = Object.entries(values).map(([name, value]) => `${name} ${text(value)}`);
  return entries.join(', ') || '-';
}

function times({ p50, p99 }: Quantiles): string {
  return `p50 ${time(p50)}, p99 ${time(p99)}`;
}

function time(seconds: number): string {
  if (Number.isNaN(seconds)) return '-';
  return seconds < 1 ? `${digits(seconds * 1_000)} ms` : `${digits(seconds)} s`;
}

function bytes(count: number): string {
  if (Number.isNaN(count)) return '-';
  if (count < 10_000) return `${digits(count)} B`;
  return count < 10_000_000 ? `${digits(count / 1_000)} kB` : `${digits(count / 1_000_000)} MB`;
}

function perS(rate: number): string {
  return `${digits(rate)}/s`;
}

function percent(share: number): string {
  return `${digits(share * 100)} %`;
}

/** Returns a number with three digits that count, or a dash for none. */
function digits(value: number): string {
  if (Number.isNaN(value)) return '-';
  return value.toLocaleString('en', { maximumSignificantDigits: value < 1_000 ? 3 : 15, maximumFractionDigits: 3 });
}
