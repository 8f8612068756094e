import { counted, invalidRequest, notWellFormed } from '@collectivekv/domain';

/** Ids as two `bytes` fields of a message. Two long fields are read and written faster than hundreds of strings. */
export interface IdColumn {
  /** The ids as UTF-8, one after the other. */
  readonly text: Buffer;
  /** The length of each id in `text`, bytes: packed little-endian uint32. */
  readonly lengths: Buffer;
}

/** Ids as bytes. Makes a string only of an id that is asked for. */
export class PackedIds {
  /**
   * @param bytes the ids, one after the other. May alias a message; do not retain it
   * @param ends where each id ends in `bytes`, behind a first 0; [ids + 1]
   */
  constructor(
    readonly bytes: Buffer,
    private readonly ends: Uint32Array,
  ) {}

  get length(): number {
    return this.ends.length - 1;
  }

  /** Returns where id `i` begins in {@link bytes}. */
  from(i: number): number {
    return this.ends[i] as number;
  }

  /** Returns where id `i` ends in {@link bytes}. */
  to(i: number): number {
    return this.ends[i + 1] as number;
  }

  /** Returns id `i` as a string. */
  at(i: number): string {
    return this.bytes.toString('utf8', this.from(i), this.to(i));
  }
}

/**
 * Returns strings as packed ids.
 * @param field name of the field that holds the strings, for errors
 * @throws invalid_request if a string has half of a surrogate pair, which would become another character
 */
export function packIds(ids: readonly string[], field: string): PackedIds {
  const text = ids.join('');
  const joined = Buffer.from(text);
  const isAscii = joined.length === text.length; // any other character has more bytes than UTF-16 units
  const ends = new Uint32Array(ids.length + 1);
  let end = 0;
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] as string;
    if (!isAscii && !id.isWellFormed()) throw notWellFormed(`${field}[${i}]`);
    end += isAscii ? id.length : Buffer.byteLength(id);
    ends[i + 1] = end;
  }
  return new PackedIds(joined, ends);
}

/** Returns the column of packed ids. */
export function writeIds(ids: PackedIds): IdColumn {
  const lengths = new Uint32Array(ids.length);
  for (let i = 0; i < lengths.length; i++) lengths[i] = ids.to(i) - ids.from(i);
  return { text: ids.bytes, lengths: Buffer.from(lengths.buffer) };
}

/**
 * Reads a column. Its bytes are not copied.
 * @param field name of the field that holds the lengths, for errors
 * @throws invalid_request if the lengths are not packed uint32, or do not add up to the length of the text
 */
export function readIds({ text, lengths }: IdColumn, field: string): PackedIds {
  if (lengths.length % 4 !== 0) {
    throw invalidRequest(field, `has ${counted(lengths.length, 'byte')}, not a multiple of 4`, 'send packed uint32');
  }
  const counts = new Uint32Array(new Uint8Array(lengths).buffer); // a copy: fields of a message are seldom aligned
  const ends = new Uint32Array(counts.length + 1);
  let end = 0;
  for (let i = 0; i < counts.length; i++) {
    end += counts[i] as number;
    ends[i + 1] = end;
  }
  if (end !== text.length) {
    throw invalidRequest(
      field,
      `adds up to ${counted(end, 'byte')}, the ids have ${text.length}`,
      'send the length of each id',
    );
  }
  return new PackedIds(text, ends);
}
