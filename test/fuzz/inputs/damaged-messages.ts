import fc from 'fast-check';
import { hostileText } from './hostile.js';
import { type MessageField, readMessage, writeMessage } from './message-fields.js';

/** One damage to the fields of a message, at any depth. */
type Damage =
  | { readonly kind: 'number'; readonly value: bigint }
  | { readonly kind: 'bytes'; readonly value: Uint8Array }
  | { readonly kind: 'double'; readonly value: number }
  | { readonly kind: 'repeat'; readonly count: number }
  | { readonly kind: 'field' | 'wire'; readonly value: number }
  | { readonly kind: 'length'; readonly value: number }
  | { readonly kind: 'wrap'; readonly depth: number }
  | { readonly kind: 'remove' };

/** Varints at the edges of 32, 48, 53, 63 and 64 bits. */
const VARINTS = [0n, 1n, 2n, 127n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 48n, 2n ** 53n + 1n];
const EDGES = [...VARINTS, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];

const damage: fc.Arbitrary<Damage> = fc.oneof(
  fc.record({
    kind: fc.constant('number' as const),
    value: fc.oneof(fc.constantFrom(...EDGES), fc.bigInt(0n, 2n ** 64n - 1n)),
  }),
  fc.record({
    kind: fc.constant('bytes' as const),
    value: fc.oneof(
      hostileText.map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 64 }),
    ),
  }),
  fc.record({ kind: fc.constant('double' as const), value: fc.double() }),
  fc.record({ kind: fc.constant('repeat' as const), count: fc.integer({ min: 1, max: 1_200 }) }),
  fc.record({ kind: fc.constant('field' as const), value: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.nat(2 ** 29)) }),
  fc.record({ kind: fc.constant('wire' as const), value: fc.nat(7) }),
  fc.record({ kind: fc.constant('length' as const), value: fc.oneof(fc.nat(300), fc.nat(2 ** 31)) }),
  fc.record({ kind: fc.constant('wrap' as const), depth: fc.integer({ min: 1, max: 200 }) }),
  fc.constant({ kind: 'remove' as const }),
);

/**
 * Copies of encoded messages with one to three fields damaged, at any depth. A field gets another value, number, wire
 * type or length, is removed, is repeated up to 1,200 times, or is nested in itself up to 200 times. The rest of the
 * message stays well-formed.
 */
export function damagedMessages(seeds: readonly Uint8Array[]): fc.Arbitrary<Buffer> {
  return fc
    .tuple(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat(), damage), { minLength: 1, maxLength: 3 }))
    .map(([seed, damages]) => {
      let fields = readMessage(seed);
      for (const [index, one] of damages) fields = withDamage(fields, index, one);
      return writeMessage(fields);
    });
}

/** Damages one field of the tree: the field with the number `index` among all, counted by depth first. */
function withDamage(fields: readonly MessageField[], index: number, damage: Damage): MessageField[] {
  const count = countOf(fields);
  let left = count === 0 ? -1 : index % count;
  const visit = (own: readonly MessageField[]): MessageField[] =>
    own.flatMap((field) => {
      if (left-- === 0) return damaged(field, damage);
      return field.nested && left >= 0 ? [{ ...field, nested: visit(field.nested) }] : [field];
    });
  return visit(fields);
}

function countOf(fields: readonly MessageField[]): number {
  return fields.reduce((count, { nested = [] }) => count + 1 + countOf(nested), 0);
}

function damaged(field: MessageField, damage: Damage): MessageField[] {
  const { number } = field;
  switch (damage.kind) {
    case 'number':
      return [{ number, wire: 0, varint: damage.value }];
    case 'bytes':
      return [{ number, wire: 2, bytes: damage.value }];
    case 'double': {
      const bytes = Buffer.alloc(8);
      bytes.writeDoubleLE(damage.value);
      return [{ number, wire: 1, bytes }];
    }
    case 'repeat':
      return Array(damage.count).fill(field);
    case 'field':
      return [{ ...field, number: damage.value }];
    case 'wire':
      return [{ ...field, wire: damage.value }];
    case 'length':
      return [{ ...field, claimedLength: damage.value }];
    case 'wrap':
      return [wrapped(field, damage.depth)];
    case 'remove':
      return [];
  }
}

function wrapped(field: MessageField, depth: number): MessageField {
  let inner = field;
  for (let i = 0; i < depth; i++) inner = { number: field.number, wire: 2, nested: [inner] };
  return inner;
}
