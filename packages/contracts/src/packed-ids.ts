/** Ids of a received message as the bytes they came in: a string is made only of an id that is asked for. */
export class PackedIds {
  /**
   * @param bytes what the ids stand in, each well-formed UTF-8; where it is the message, not to be kept longer than that
   * @param bounds where each id begins and ends in `bytes`, in turns; [2 * ids]
   */
  constructor(
    readonly bytes: Buffer,
    private readonly bounds: Int32Array,
  ) {}

  get length(): number {
    return this.bounds.length / 2;
  }

  /** Where id `i` begins in {@link bytes}. */
  from(i: number): number {
    return this.bounds[2 * i] as number;
  }

  /** Where id `i` ends in {@link bytes}. */
  to(i: number): number {
    return this.bounds[2 * i + 1] as number;
  }

  /** Id `i` as a string. */
  at(i: number): string {
    return this.bytes.toString('utf8', this.from(i), this.to(i));
  }
}

/** Packs strings, none with half a surrogate pair, as a received message has its ids. */
export function packIds(ids: readonly string[]): PackedIds {
  const bounds = new Int32Array(2 * ids.length);
  let end = 0;
  ids.forEach((id, i) => {
    bounds[2 * i] = end;
    end += Buffer.byteLength(id);
    bounds[2 * i + 1] = end;
  });
  return new PackedIds(Buffer.from(ids.join('')), bounds);
}
