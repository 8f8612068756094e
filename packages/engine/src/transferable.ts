import type { Tensors } from '@collectivekv/domain';

/** From this size on, transferring a buffer costs less than copying it. */
const TRANSFER_BYTES = 64 * 1024;

/** Returns the buffers to transfer to another thread: large ones that one tensor fills. */
export function transferable(tensors: Tensors): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>();
  for (const { data } of Object.values(tensors)) {
    if (
      data.buffer instanceof ArrayBuffer &&
      data.byteLength === data.buffer.byteLength &&
      data.byteLength >= TRANSFER_BYTES
    ) {
      buffers.add(data.buffer);
    }
  }
  return [...buffers];
}
