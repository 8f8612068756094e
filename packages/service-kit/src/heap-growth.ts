import { setFlagsFromString } from 'node:v8';

/**
 * Lets this process's heaps grow to three times their live size before V8 collects the whole heap. The memory of
 * messages and tensors is outside the heap and counts against this limit. With V8's own factor, whole collections of
 * some 10 ms ran before the young generation was full once. Each freed no more than a collection of that generation
 * does in 2 ms.
 */
export function relaxHeapGrowth(): void {
  setFlagsFromString('--heap-growing-percent=200');
}
