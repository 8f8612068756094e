import { CkvError } from './errors.js';

/** Item ids to the indices that the graphs know. */
export interface ItemCatalogue {
  readonly count: number;
  /** The item's index; 0, the unknown item, for an id that is not in the catalogue. */
  indexOf(itemId: string): number;
  /** {@link indexOf} of the id whose UTF-8 is `bytes` from `from` up to `to`; makes no string. */
  indexOfBytes(bytes: Uint8Array, from: number, to: number): number;
  /** The id at an index; the unknown item's is empty. */
  idAt(index: number): string;
}

/** Half a surrogate pair: has no UTF-8, so that no message can hold an id with one and no item is found by one. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Builds a catalogue: a hash table over the ids' bytes, which keeps no string.
 * @param count how many ids there must be
 * @throws bundle_invalid for another count, a first id that is not '', or an id that stands twice
 */
export function createItemCatalogue(itemIds: readonly string[], count: number): ItemCatalogue {
  if (itemIds.length !== count) {
    throw new CkvError('bundle_invalid', `items: the file has ${itemIds.length} ids, bundle.json says ${count}`);
  }
  if (itemIds[0] !== '') throw new CkvError('bundle_invalid', 'items: index 0 is the unknown item, its id must be ""');

  const ids = Buffer.alloc(itemIds.reduce((bytes, id) => bytes + Buffer.byteLength(id), 0));
  const starts = new Uint32Array(count + 1); // id i is `ids` from starts[i] up to starts[i + 1]
  // Open addressing, at most half full. An entry is an item's index, with the hash's bits above `mask` over it so that
  // few other ids are compared; 0 is free, for the unknown item is not in here.
  const table = new Int32Array(1 << (32 - Math.clz32(count * 2 - 1))); // the next power of two from 2 * count
  const mask = table.length - 1;
  for (let index = 1; index < count; index++) {
    const id = itemIds[index] as string;
    const from = starts[index] as number;
    const to = from + ids.write(id, from);
    starts[index + 1] = to;
    if (LONE_SURROGATE.test(id)) continue;
    const hash = hashOf(ids, from, to);
    const slot = slotOf(hash, ids, from, to);
    if (id === '' || table[slot] !== 0) throw new CkvError('bundle_invalid', 'items: an id stands twice');
    table[slot] = (hash & ~mask) | index;
  }

  /** Where the id stands in the table, or the free slot where it would. */
  function slotOf(hash: number, bytes: Uint8Array, from: number, to: number): number {
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = table[slot] as number;
      if (entry === 0 || (((entry ^ hash) & ~mask) === 0 && isId(entry & mask, bytes, from, to))) return slot;
    }
  }

  function isId(index: number, bytes: Uint8Array, from: number, to: number): boolean {
    const start = starts[index] as number;
    if ((starts[index + 1] as number) - start !== to - from) return false;
    for (let i = from; i < to; i++) if (bytes[i] !== ids[start + i - from]) return false;
    return true;
  }

  function indexOfBytes(bytes: Uint8Array, from: number, to: number): number {
    return (table[slotOf(hashOf(bytes, from, to), bytes, from, to)] as number) & mask;
  }

  return {
    count,
    indexOfBytes,
    indexOf(itemId) {
      if (LONE_SURROGATE.test(itemId)) return 0;
      const bytes = Buffer.from(itemId);
      return indexOfBytes(bytes, 0, bytes.length);
    },
    idAt: (index) => ids.toString('utf8', starts[index] ?? 0, starts[index + 1] ?? 0),
  };
}

/** FNV-1a, its high bits folded onto the low ones: those choose the slot. */
function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return hash ^ (hash >>> 15);
}
