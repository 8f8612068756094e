/**
 * Returns packed little-endian float32 as an array. Copies them: received bytes are a view of a message that is seldom
 * aligned, and keeping the view would keep the whole message in memory.
 */
export function floatsFrom(bytes: Uint8Array): Float32Array {
  return new Float32Array(new Uint8Array(bytes).buffer);
}

/** Returns an array's memory as bytes, without copying. */
export function bytesOf(values: Float32Array | Uint32Array): Buffer {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
}
