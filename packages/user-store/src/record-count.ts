import { EVENT_HASH_BYTES, RECORD_FIXED_BYTES } from '@collectivekv/domain';
import { keyMemory } from '@collectivekv/redis-memory';
import type { EncodingStats, StoreStats } from './user-store.js';

/** A record as a count sees it. */
export interface CountedRecord {
  /** The first 30 bytes of the record, or fewer if it is shorter. */
  readonly header: Buffer;
  /** Length of its key, bytes. */
  readonly keyBytes: number;
  /** The record's memory with its key, as Redis counts it, bytes. */
  readonly memoryBytes: number;
  /** True on a cluster. */
  readonly cluster: boolean;
}

/** Most encodings of {@link StoreStats.encodings}. The others count in the sums alone. */
const MAX_ENCODINGS = 100;

/** Adds records up, all together and by encoding. */
export class RecordCount {
  private readonly byEncoding = new Map<string, Mutable<EncodingStats>>();

  /** Adds a record. Leaves out what is too short for one. */
  add({ header, keyBytes, memoryBytes, cluster }: CountedRecord): void {
    if (header.length < RECORD_FIXED_BYTES) return;
    const encodingId = header.toString('hex', 6, 14);
    const known = this.byEncoding.get(encodingId);
    const sum = known ?? {
      encodingId,
      recordCount: 0,
      positionCount: 0,
      lifetimeCount: 0,
      memoryBytes: 0,
      ledgerBytes: 0,
    };
    if (!known) this.byEncoding.set(encodingId, sum);
    const positionCount = header.readUInt32LE(26);
    const strideBytes = header.readUInt8(3) + 256 * header.readUInt8(5);
    const length = RECORD_FIXED_BYTES + header.readUInt8(4) * EVENT_HASH_BYTES + positionCount * strideBytes;
    const ledger = keyMemory({ keyLength: keyBytes, value: { kind: 'string', length }, expires: true, cluster });
    sum.recordCount++;
    sum.positionCount += positionCount;
    sum.lifetimeCount += header.readUIntLE(14, 6);
    sum.memoryBytes += memoryBytes;
    sum.ledgerBytes += ledger.usageBytes;
  }

  get recordCount(): number {
    return this.sumOf('recordCount');
  }

  stats(truncated: boolean): StoreStats {
    const encodings = [...this.byEncoding.values()].sort((a, b) => b.recordCount - a.recordCount);
    return {
      recordCount: this.recordCount,
      positionCount: this.sumOf('positionCount'),
      memoryBytes: this.sumOf('memoryBytes'),
      ledgerBytes: this.sumOf('ledgerBytes'),
      lifetimeCount: this.sumOf('lifetimeCount'),
      truncated,
      encodings: encodings.slice(0, MAX_ENCODINGS),
    };
  }

  private sumOf(figure: Exclude<keyof EncodingStats, 'encodingId'>): number {
    let sum = 0;
    for (const encoding of this.byEncoding.values()) sum += encoding[figure];
    return sum;
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
