import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { InteractionInput } from '@collectivekv/client';
import type { Random } from '../random.js';

/** The words of a bundle's interactions, read from its files. */
export interface Vocabulary {
  /** By index; index 0 is the unknown item. */
  readonly itemIds: readonly string[];
  readonly actions: readonly string[];
}

/** Reads the items and actions of a bundle folder. */
export function readVocabulary(bundleDir: string): Vocabulary {
  const read = (file: string) => JSON.parse(readFileSync(join(bundleDir, file), 'utf8')) as unknown;
  const { ids } = read('items.json') as { ids: string[] };
  const { actions } = read('bundle.json') as { actions: string[] };
  return { itemIds: ids, actions: actions.slice(1) };
}

/** Factors that walk through every catalogue whose size has no prime factor but 2, 3 and 5. */
const STRIDES = [7, 11, 13, 17, 37, 73];
const FIRST_MS = 1_700_000_000_000;

/** Makes the interactions of one user: no item comes twice before all items came. */
export function createInteractions(
  userId: string,
  { itemIds, actions }: Vocabulary,
  random: Random,
): (seq: number) => Required<InteractionInput> {
  const items = itemIds.length - 1;
  const [first, stride] = [random.whole(0, items - 1), random.pick(STRIDES)];
  return (seq) => ({
    eventId: `${userId}/${seq}`,
    userId,
    itemId: itemIds[1 + ((first + seq * stride) % items)] ?? '',
    timestampMs: FIRST_MS + seq * 1_000,
    action: random.pick(actions),
    features: { watch_ratio: random.whole(0, 20) / 20 },
  });
}
