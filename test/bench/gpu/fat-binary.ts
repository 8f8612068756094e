/** What {@link keepArchitecture} did. */
export interface KeptCode {
  readonly keptBytes: number;
  readonly clearedBytes: number;
}

/** Begins a fat binary: device code for several GPU architectures, inside a library. */
const MAGIC = Buffer.from([0x50, 0xed, 0x55, 0xba]);
/** Offsets in the header of a fat binary: its own bytes, u16, and the bytes of all entries, u64. */
const [HEADER_BYTES_AT, ENTRIES_BYTES_AT, LEAST_HEADER] = [6, 8, 16];
/** Offsets in the header of an entry: its own bytes, u32; the bytes of its code, u64; its architecture, u32. */
const [ENTRY_HEADER_AT, CODE_BYTES_AT, ARCHITECTURE_AT, LEAST_ENTRY] = [4, 8, 28, 32];

/**
 * Sets the device code of all other GPU architectures to zeros, in place. The library stays as long, and packs well. The
 * driver chooses an entry by its header, so it never reads the zeros.
 * @param architecture such as 90 for sm_90
 * @throws Error if the library has no code for the architecture
 */
export function keepArchitecture(library: Buffer, architecture: number): KeptCode {
  let [keptBytes, clearedBytes] = [0, 0];
  const known = new Set<number>();
  for (let at = library.indexOf(MAGIC); at >= 0; at = library.indexOf(MAGIC, at + 1)) {
    for (const { code, of } of entriesAt(library, at)) {
      known.add(of);
      if (of === architecture) keptBytes += code.length;
      else clearedBytes += code.fill(0).length;
    }
  }
  if (keptBytes > 0) return { keptBytes, clearedBytes };
  const has = known.size === 0 ? 'no device code' : `code for ${[...known].sort((a, b) => a - b).join(', ')}`;
  throw new Error(`the library has ${has}, none for ${architecture}; give another --sm`);
}

interface Entry {
  readonly code: Buffer;
  /** The architecture. */
  readonly of: number;
}

/** Returns the entries of the fat binary at a place. Empty if these bytes are no fat binary, as in other code. */
function entriesAt(library: Buffer, at: number): Entry[] {
  if (at + LEAST_HEADER > library.length) return [];
  const begin = at + library.readUInt16LE(at + HEADER_BYTES_AT);
  const end = begin + Number(library.readBigUInt64LE(at + ENTRIES_BYTES_AT));
  if (begin < at + LEAST_HEADER || end > library.length) return [];
  const entries: Entry[] = [];
  for (let place = begin; place < end; ) {
    if (place + LEAST_ENTRY > end) return [];
    const from = place + library.readUInt32LE(place + ENTRY_HEADER_AT);
    const next = from + Number(library.readBigUInt64LE(place + CODE_BYTES_AT));
    if (from < place + LEAST_ENTRY || next > end) return [];
    entries.push({ code: library.subarray(from, next), of: library.readUInt32LE(place + ARCHITECTURE_AT) });
    place = next;
  }
  return entries;
}

/** Returns a size in words: `51.2 MB`. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
