import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const MB = 1024 * 1024;
const READS = 16;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/**
 * Collects the garbage of this process, and returns the memory that is kept, MB: the least of several readings. Memory
 * outside the heap, as zlib's, goes only after the turn in which its owner was collected.
 */
export async function keptMb(): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < READS; i++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
    const { heapUsed, external } = process.memoryUsage();
    least = Math.min(least, (heapUsed + external) / MB);
  }
  return least;
}
