/** Returns packed little-endian float32 as an array, which keeps no part of the message. */
export function floatsOf(bytes: Uint8Array): Float32Array {
  return new Float32Array(new Uint8Array(bytes).buffer);
}
