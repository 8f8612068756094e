import { counted } from '../counted.js';
import { CkvError } from '../errors.js';

/** Maps item ids to the indices that the graphs use. */
export interface ItemCatalogue {
  readonly count: number;
  /** Returns the item's index, or 0, the unknown item, if the catalogue does not have the id. */
  indexOf(itemId: string): number;
  /** Like {@link indexOf}, for the id whose UTF-8 is in `bytes` from `from` up to `to`. Makes no string. */
  indexOfBytes(bytes: Uint8Array, from: number, to: number): number;
  /** Returns the id at an index. The id of the unknown item, and of an index beyond the catalogue, is empty. */
  idAt(index: number): string;
}

/** Half a surrogate pair has no UTF-8. A message cannot hold such an id, so no lookup may find it. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Creates a catalogue: a hash table over the ids' bytes, without strings.
 * @param count the required number of ids
 * @throws bundle_invalid if there are more or fewer ids, if the first is not '', or if one is duplicated
 */
export function createItemCatalogue(itemIds: readonly string[], count: number): ItemCatalogue {
  if (itemIds.length !== count) {
    throw new CkvError(
      'bundle_invalid',
      `items: the file has ${counted(itemIds.length, 'id')}, bundle.json says ${count}`,
    );
  }
  if (itemIds[0] !== '') throw new CkvError('bundle_invalid', 'items: index 0 is the unknown item, its id must be ""');

  const ids = Buffer.alloc(itemIds.reduce((bytes, id) => bytes + Buffer.byteLength(id), 0));
  const starts = new Uint32Array(count + 1); // id i is `ids` from starts[i] up to starts[i + 1]
  // Open addressing, at most half full. The low bits of an entry, those of `mask`, are the item's index. The high bits
  // are those of the id's hash, so that a lookup compares few other ids. 0 marks a free slot: the unknown item is not
  // in the table.
  const table = new Int32Array(1 << (32 - Math.clz32(count * 2 - 1))); // a power of two, at least 2 * count
  const mask = table.length - 1;
  for (let index = 1; index < count; index++) {
    const id = itemIds[index] as string;
    const from = starts[index] as number;
    const to = from + ids.write(id, from);
    starts[index + 1] = to;
    if (LONE_SURROGATE.test(id)) continue;
    const hash = hashOf(ids, from, to);
    const slot = slotOf(hash, ids, from, to);
    if (id === '' || table[slot] !== 0) throw new CkvError('bundle_invalid', 'items: an id is duplicated');
    table[slot] = (hash & ~mask) | index;
  }

  /** Returns the id's slot in the table, or the free slot for it if the table does not have the id. */
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

/** FNV-1a, with its high bits folded onto the low bits, which choose the slot. */
function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return hash ^ (hash >>> 15);
}
