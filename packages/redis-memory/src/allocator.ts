/** Smallest step between sizes of small allocations, as jemalloc is built by default. Redis's own build has 8 bytes. */
const QUANTUM_BYTES = 16;
/** The size below the first multiple of the quantum. */
const TINY_BYTES = 8;
/** Up to here the sizes are multiples of the quantum. Above, each doubling has four sizes. */
const LINEAR_BYTES = 128;
const SIZES_A_DOUBLING = 4;

/**
 * Returns the bytes that jemalloc takes for an allocation: the smallest of its sizes that is large enough. Redis's own
 * build of jemalloc takes up to 8 bytes less for allocations below 64 bytes.
 */
export function allocatedBytes(bytes: number): number {
  if (bytes <= TINY_BYTES) return TINY_BYTES;
  if (bytes <= LINEAR_BYTES) return Math.ceil(bytes / QUANTUM_BYTES) * QUANTUM_BYTES;
  const step = 2 ** Math.floor(Math.log2(bytes - 1)) / SIZES_A_DOUBLING;
  return Math.ceil(bytes / step) * step;
}

/** Returns the bytes of a text in Redis (an "sds"): a header by its length, the text and a final zero. */
export function textBytes(length: number): number {
  return allocatedBytes(textHeaderBytes(length) + length + 1);
}

function textHeaderBytes(length: number): number {
  if (length < 32) return 1;
  if (length < 256) return 3;
  return length < 65_536 ? 5 : 9;
}
