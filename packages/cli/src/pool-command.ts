import { steadyNowMs } from '@collectivekv/domain';
import type { ResponseOf } from '@collectivekv/rpc';
import { Command } from 'commander';
import { bundleIdOf } from './bundle-id.js';
import type { Connections } from './connections.js';
import { pairs } from './print.js';

type Health = ResponseOf<'PoolService', 'GetPoolHealth'>;
type FieldHealth = Health['fields'][number];
type Figures = NonNullable<FieldHealth['recent']>;

const DEADLINE_MS = 10_000;
/** Characters of a bar that stands for all positions. */
const BAR = 40;

/** Creates `ckv pool`. */
export function poolCommand(connections: Connections): Command {
  const limits = () => ({ deadlineMs: steadyNowMs() + DEADLINE_MS });
  return new Command('pool')
    .description('show how recent positions use the slots of the pools, beside the positions of training')
    .option('--bundle <id>', 'of this bundle, an id or a name; default: of all bundles that are kept loaded')
    .action(async (options: { bundle?: string }) => {
      const ids = options.bundle === undefined ? await keptIds() : [await bundleIdOf(connections, options.bundle)];
      const healths = await Promise.all(
        ids.map((bundleId) => connections.pool().call('GetPoolHealth', { bundleId }, limits())),
      );
      connections.print(healths, () => healths.map(healthText).join('\n\n'));
    });

  /** Returns the bundles that the services keep loaded, the active one first. */
  async function keptIds(): Promise<readonly string[]> {
    for await (const { bundleIds } of connections.pool().stream('WatchBundles', {}, limits())) return bundleIds;
    return [];
  }
}

/** Returns the health of a bundle's pool as text. */
export function healthText({ bundleId, encodingId, windowS, fields }: Health): string {
  const window = `recent positions: of the last ${windowS} to ${2 * windowS} s`;
  return [`bundle ${bundleId}, encoding ${encodingId}; ${window}`, ...fields.map(fieldText)].join('\n\n');
}

function fieldText({ field, slotCount, recent, trained, drift }: FieldHealth): string {
  const now = recent ?? EMPTY;
  const unused = slotCount - now.usedCount;
  const facts = pairs([
    [field, `${count(slotCount)} slots`],
    ['positions', `${count(now.positionCount)}${trained ? `; in training ${count(trained.positionCount)}` : ''}`],
    ['used', `${count(now.usedCount)}${trained ? `; in training ${count(trained.usedCount)}` : ''}`],
    [
      'unused',
      `${count(unused)}${drift ? `; ${count(drift.expectedUnusedCount)} if positions were those of training` : ''}`,
    ],
    ['entropy', `${digits(now.entropyBits)} bits${trained ? `; in training ${digits(trained.entropyBits)}` : ''}`],
    ['perplexity', `${digits(now.perplexity)}${trained ? `; in training ${digits(trained.perplexity)}` : ''}`],
    ['drift', driftText({ trained, drift })],
  ]);
  return `${facts}\n${histogram(now.rankShares, trained?.rankShares ?? [])}`;
}

const EMPTY: Figures = { positionCount: 0, usedCount: 0, entropyBits: 0, perplexity: 0, rankShares: [] };

function driftText({ trained, drift }: Pick<FieldHealth, 'trained' | 'drift'>): string {
  if (!trained) return 'not known: the bundle has no counts of its training';
  if (!drift) return 'not known: no recent positions';
  const { distance, noise, bound } = drift;
  const verdict = distance > bound ? 'more than chance' : 'no more than chance';
  return `${digits(distance)} of 1: ${verdict} (chance alone: ${digits(noise)}, rarely above ${digits(bound)})`;
}

/** Returns a line for each group of slots by rank: the share of recent positions, and of those of training. */
function histogram(recent: readonly number[], trained: readonly number[]): string {
  const groups = Array.from({ length: Math.max(recent.length, trained.length) }, (_, i) => i);
  const names = groups.map((i) => (i < 2 ? `slot ${i + 1}` : `slots ${count(2 ** (i - 1) + 1)} to ${count(2 ** i)}`));
  const width = Math.max(0, ...names.map(({ length }) => length));
  const lines = groups.map((i) => {
    const [now = 0, then] = [recent[i], trained[i]];
    const training = trained.length > 0 ? `  training ${percent(then ?? 0)}` : '';
    return `  ${(names[i] ?? '').padEnd(width)}  ${percent(now)}${training}  ${'#'.repeat(Math.round(now * BAR))}`;
  });
  return [`share of positions by rank of the slot, the most used first:`, ...lines].join('\n');
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1).padStart(5)} %`;
}

function count(value: number): string {
  return Math.round(value).toLocaleString('en');
}

function digits(value: number): string {
  return String(Number(value.toPrecision(3)));
}
