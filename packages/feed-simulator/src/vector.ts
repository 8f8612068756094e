import type { Random } from './random.js';

/** A dense latent vector. */
export type Vector = Float64Array;

/** Returns a random vector of length 1. */
export function randomDirection(random: Random, width: number): Vector {
  return normalize(Float64Array.from({ length: width }, () => random.normal()));
}

/** Returns the vector scaled to length 1. */
export function normalize(vector: Vector): Vector {
  const length = Math.sqrt(dot(vector, vector));
  return vector.map((x) => x / length);
}

/** Returns the inner product of two vectors of the same width. */
export function dot(left: Vector, right: Vector): number {
  let sum = 0;
  for (let i = 0; i < left.length; i++) sum += (left[i] ?? 0) * (right[i] ?? 0);
  return sum;
}

/** `target += weight * vector`, in place. */
export function addScaled(target: Vector, vector: Vector, weight: number): void {
  for (let i = 0; i < target.length; i++) target[i] = (target[i] ?? 0) + weight * (vector[i] ?? 0);
}
