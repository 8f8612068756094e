import { randomNumbers } from '../random.js';
import type { GpuModel } from './gpu-model.js';

/** The size of a batch: users, positions of each user, and candidates of each user. */
export interface BatchShape {
  readonly users: number; // B
  readonly positions: number; // N
  readonly candidates: number; // C
}

/** The histories and candidates of a batch. */
export interface Batch extends BatchShape {
  /** The pool row of each position. */
  readonly routes: Uint16Array; // [B, N]
  /** Indices of the candidates in the catalogue. */
  readonly items: Int32Array; // [B, C]
}

/** Draws a batch. The same seed gives the same one. */
export function drawBatch(model: GpuModel, shape: BatchShape, seed = 1): Batch {
  const random = randomNumbers(seed);
  const { users, positions, candidates } = shape;
  // Users prefer different rows, so that their scores differ.
  const routes = Uint16Array.from({ length: users * positions }, (_, i) => {
    const own = (Math.floor(i / positions) * 7) % model.slots;
    return Math.floor((own + random() * random() * model.slots) % model.slots);
  });
  const items = Int32Array.from({ length: users * candidates }, () => 1 + Math.floor(random() * model.items));
  return { ...shape, routes, items };
}

/** Returns the distinct pool rows of a user, ascending, with the number of positions of each. */
export function visitedSlots({ routes, positions }: Batch, user: number): { slots: number[]; counts: number[] } {
  const counts = new Map<number, number>();
  for (const slot of routes.subarray(user * positions, (user + 1) * positions)) {
    counts.set(slot, (counts.get(slot) ?? 0) + 1);
  }
  const slots = [...counts.keys()].sort((a, b) => a - b);
  return { slots, counts: slots.map((slot) => counts.get(slot) ?? 0) };
}
