import hpack from 'hpack.js';

/** The part of a call's trailers that a flood counts. */
export interface Trailers {
  /** gRPC status code. */
  readonly status: number;
  /** Undefined if the server asks for no delay. */
  readonly retryAfterMs: number | undefined;
}

const MOST_KNOWN = 10_000;

/**
 * Returns a reader of header blocks. The connection must not let its server use a dynamic table: equal blocks then mean
 * the same, and each is read once only. Returns undefined for headers without a status.
 */
export function createTrailerReader(): (block: Buffer) => Trailers | undefined {
  const known = new Map<string, Trailers | undefined>();
  return (block) => {
    const key = block.toString('latin1');
    if (known.has(key)) return known.get(key);
    const trailers = read(block);
    if (known.size < MOST_KNOWN) known.set(key, trailers);
    return trailers;
  };
}

function read(block: Buffer): Trailers | undefined {
  const reader = hpack.decompressor.create({ table: { maxSize: 0 } });
  reader.write(block);
  reader.execute();
  const headers = new Map<string, string>();
  for (let header = reader.read(); header; header = reader.read()) headers.set(header.name, header.value);
  const status = headers.get('grpc-status');
  if (status === undefined) return undefined;
  const delay = headers.get('ckv-retry-after-ms');
  return { status: Number(status), retryAfterMs: delay === undefined ? undefined : Number(delay) };
}
