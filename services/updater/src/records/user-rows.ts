import { eventHash, type Interaction } from '@collectivekv/domain';

/** A user's interactions, oldest first. */
export type UserInteractions = readonly [userId: string, interactions: readonly Interaction[]];

/** One user's interactions, encoded. */
export interface UserRows {
  readonly userId: string;
  /** Oldest first, at least one. */
  readonly interactions: readonly Interaction[];
  readonly rows: Uint8Array; // [interactions * strideBytes]
}

/** Interactions of many users, encoded together, one row each. */
export interface EncodedRows {
  readonly rows: Uint8Array; // [interactions * strideBytes]
  readonly strideBytes: number;
  /** The row's index by interaction. */
  readonly rowOf: ReadonlyMap<Interaction, number>;
}

/** Returns one user's rows. */
export function pickRows(encoded: EncodedRows, [userId, interactions]: UserInteractions): UserRows {
  const { rows, strideBytes, rowOf } = encoded;
  const picked = new Uint8Array(interactions.length * strideBytes);
  for (const [i, interaction] of interactions.entries()) {
    const from = (rowOf.get(interaction) ?? 0) * strideBytes;
    picked.set(rows.subarray(from, from + strideBytes), i * strideBytes);
  }
  return { userId, interactions, rows: picked };
}

/** Returns a user's rows as AppendPositions takes them. */
export function appendOf({ userId, interactions, rows }: UserRows) {
  return {
    userId,
    eventHashes: Buffer.concat(interactions.map(({ eventId }) => eventHash(eventId))),
    rows: Buffer.from(rows.buffer, rows.byteOffset, rows.length),
    lastEventMs: Math.max(...interactions.map(({ timestampMs }) => timestampMs)),
  };
}
