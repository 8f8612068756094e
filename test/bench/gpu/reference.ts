import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type OpenBundle, openBundle } from '@collectivekv/bundles';
import { joinScores } from '@collectivekv/domain';
import { createEngine } from '@collectivekv/engine';
import type { Batch } from './batch.js';
import { rankFeeds } from './gpu-arms.js';
import type { GpuModel } from './gpu-model.js';

/** The scores that every arm must give: by the rank graph of the bundle `pool`, user by user, on the CPU. */
export interface Reference {
  scores(batch: Batch): Promise<Float32Array>; // [B * C]
  close(): Promise<void>;
}

/** Loads the rank graph on the CPU. */
export async function openReference(model: GpuModel): Promise<Reference> {
  const bundle: OpenBundle = await openBundle(join(model.dir, 'pool'));
  const { rank } = bundle.model.manifest.graphs;
  const engine = await createEngine({
    provider: 'cpu',
    workerCount: availableParallelism(),
    threadsPerWorker: 1,
    queueLimit: 10_000,
  });
  const graphs = await engine.load({ rank: { path: join(bundle.dir, rank.file) } });
  return {
    async scores(batch) {
      const users = Array.from({ length: batch.users }, (_, user) => rankFeeds(model, rank.inputs, batch, user));
      const outputs = await Promise.all(users.map((feeds) => graphs.run('rank', feeds)));
      return joinScores(outputs, rank.outputs[0]?.name ?? '');
    },
    close: () => engine.close(),
  };
}

/** Returns the largest difference between scores. NaN counts as infinitely far. */
export function largestDifference(scores: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (scores.length !== wanted.length) throw new Error(`there are ${scores.length} scores, not ${wanted.length}`);
  let largest = 0;
  for (let i = 0; i < wanted.length; i++) {
    const difference = Math.abs((scores[i] ?? Number.NaN) - (wanted[i] ?? Number.NaN));
    largest = Math.max(largest, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference);
  }
  return largest;
}
