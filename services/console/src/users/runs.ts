/** Sums of runs of equally many numbers; the last run may be shorter. */
export interface Runs {
  readonly size: number;
  /** Rounded to six digits. */
  readonly sums: readonly number[];
}

/** Adds numbers up in at most `most` runs. */
export function runsOf(numbers: Float32Array, most: number): Runs {
  const size = Math.max(1, Math.ceil(numbers.length / most));
  const sums = Array.from({ length: Math.ceil(numbers.length / size) }, (_, run) =>
    numbers.subarray(run * size, (run + 1) * size).reduce((sum, one) => sum + one, 0),
  );
  return { size, sums: sums.map((sum) => Number(sum.toPrecision(6))) };
}
