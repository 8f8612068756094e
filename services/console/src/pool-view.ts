import { steadyNowMs } from '@collectivekv/domain';
import { listBundles } from '@collectivekv/operations';
import type { ResponseOf } from '@collectivekv/rpc';
import type { Upstream } from './upstream.js';
import type { PoolFieldView, PoolView, SlotFiguresView } from './views.js';

type FieldMessage = ResponseOf<'PoolService', 'GetPoolHealth'>['fields'][number];

/** Returns how recent positions use the pool of a bundle; '' is the active one. */
export async function readPool({ pool }: Pick<Upstream, 'pool'>, wanted: string, timeoutMs: number): Promise<PoolView> {
  const limits = { deadlineMs: steadyNowMs() + timeoutMs };
  const [health, bundles] = await Promise.all([
    pool.call('GetPoolHealth', { bundleId: wanted }, limits),
    listBundles({ pool: () => pool }),
  ]);
  return {
    bundleId: health.bundleId,
    encodingId: health.encodingId,
    windowS: health.windowS,
    bundles: bundles.map(({ id, manifest, state }) => ({ id, name: manifest.name, state })),
    fields: health.fields.map(fieldView),
  };
}

function fieldView({ field, slotCount, recent, trained, drift, runs }: FieldMessage): PoolFieldView {
  return {
    field,
    slotCount,
    recent: recent ? figuresView(recent) : NONE,
    trained: trained ? figuresView(trained) : null,
    drift: drift
      ? {
          distance: drift.distance,
          noise: drift.noise,
          bound: drift.bound,
          expectedUnusedCount: drift.expectedUnusedCount,
        }
      : null,
    runSlots: runs?.runSlots ?? 1,
    recentPositions: numbersOf(runs?.recentPositions),
    usedSlots: numbersOf(runs?.usedSlots),
    trainedPositions: numbersOf(runs?.trainedPositions),
  };
}

const NONE: SlotFiguresView = { positionCount: 0, usedCount: 0, entropyBits: 0, perplexity: 0, rankShares: [] };

function figuresView(figures: NonNullable<FieldMessage['recent']>): SlotFiguresView {
  const { positionCount, usedCount, entropyBits, perplexity, rankShares } = figures;
  return { positionCount, usedCount, entropyBits, perplexity, rankShares };
}

/** Returns packed little-endian uint32 as numbers. */
function numbersOf(bytes: Uint8Array = new Uint8Array(0)): number[] {
  return Array.from(new Uint32Array(Uint8Array.from(bytes).buffer));
}
