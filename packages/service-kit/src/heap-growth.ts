import { setFlagsFromString } from 'node:v8';

/**
 * Lets this process's heaps grow to three times what lives in them before all of it is collected. Messages and tensors have
 * memory outside the heap that counts against this limit: at V8's own factor whole collections of some 10 ms came before
 * the young part of the heap was full even once, each for what a young collection frees in 2 ms.
 */
export function relaxHeapGrowth(): void {
  setFlagsFromString('--heap-growing-percent=200');
}
