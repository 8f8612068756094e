const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc >>> 0;
});

/** Returns the queue partition of a user: CRC-32 (IEEE) of the id's UTF-8 bytes, modulo `partitionCount`. */
export function partitionOf(userId: string, partitionCount: number): number {
  let crc = 0xffffffff;
  for (const byte of Buffer.from(userId)) crc = (crc >>> 8) ^ (CRC_TABLE[(crc ^ byte) & 0xff] ?? 0);
  return ((crc ^ 0xffffffff) >>> 0) % partitionCount;
}
