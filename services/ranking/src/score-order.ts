/** Room for an index below a score's bits: 2^20 candidates, more than any request has. */
const INDEX_SPAN = 2 ** 20;

/**
 * Indices by falling score; equal scores keep their order.
 * @param topK only the first so many; 0 returns all
 */
export function orderOf(scores: Float32Array, topK: number): Uint32Array {
  const count = scores.length;
  const bits = new Int32Array(scores.buffer, scores.byteOffset, count);
  // Numbers sort natively, several times faster than by a comparison of ours: score and index become one of 52 bits.
  const keys = new Float64Array(count);
  for (let i = 0; i < count; i++) keys[i] = fallingRank(bits[i] as number) * INDEX_SPAN + i;
  keys.sort();
  const order = new Uint32Array(topK > 0 ? Math.min(topK, count) : count);
  for (let i = 0; i < order.length; i++) order[i] = (keys[i] as number) % INDEX_SPAN;
  return order;
}

/** A number of 32 bits that falls as the float32 with these bits rises; 0 and -0 have the same. */
function fallingRank(bits: number): number {
  // A float's magnitude rises with its bits; below zero the sign turns that round.
  return 2 ** 31 - (bits >= 0 ? bits : -(bits & 0x7fffffff));
}
