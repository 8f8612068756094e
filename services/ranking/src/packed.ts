/**
 * Packed little-endian float32 as an array. Copies: received bytes are a view of a message, seldom aligned, and a view
 * would keep the whole message alive.
 */
export function floatsFrom(bytes: Uint8Array): Float32Array {
  return new Float32Array(new Uint8Array(bytes).buffer);
}

/** An array's memory as bytes, without copying. */
export function bytesOf(values: Float32Array | Uint32Array): Buffer {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
}
