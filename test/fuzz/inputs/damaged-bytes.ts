import fc from 'fast-check';

/** One damage to bytes. Positions are fractions of the length, so that a smaller input has the same damage. */
type Damage =
  | { readonly kind: 'set' | 'flip'; readonly at: number; readonly value: number }
  | { readonly kind: 'cut'; readonly at: number }
  | { readonly kind: 'remove' | 'repeat'; readonly at: number; readonly count: number }
  | { readonly kind: 'insert'; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: 'number'; readonly at: number; readonly value: number; readonly width: 2 | 4 | 8 };

const at = fc.double({ min: 0, max: 1, noNaN: true });
/** Lengths and counts at the edges, as little-endian or big-endian fields of a header would have them. */
const EDGES = [0, 1, 2, 127, 128, 255, 256, 65_535, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];

const damage: fc.Arbitrary<Damage> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('set' as const), at, value: fc.nat(255) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('flip' as const), at, value: fc.nat(7).map((bit) => 1 << bit) }),
  },
  fc.record({ kind: fc.constant('cut' as const), at }),
  fc.record({
    kind: fc.constantFrom('remove' as const, 'repeat' as const),
    at,
    count: fc.integer({ min: 1, max: 40 }),
  }),
  fc.record({ kind: fc.constant('insert' as const), at, bytes: fc.uint8Array({ minLength: 1, maxLength: 20 }) }),
  fc.record({
    kind: fc.constant('number' as const),
    at,
    value: fc.constantFrom(...EDGES),
    width: fc.constantFrom(2 as const, 4 as const, 8 as const),
  }),
);

/** Copies of the seeds with one to four damages each, and now and then random bytes. */
export function damagedBytes(seeds: readonly Uint8Array[]): fc.Arbitrary<Buffer> {
  const damaged = fc
    .tuple(fc.constantFrom(...seeds), fc.array(damage, { minLength: 1, maxLength: 4 }))
    .map(([seed, damages]) => damages.reduce(withDamage, Buffer.from(seed)));
  const random = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
  return fc.oneof({ weight: 15, arbitrary: damaged }, random);
}

function withDamage(bytes: Buffer, damage: Damage): Buffer {
  const from = Math.min(bytes.length, Math.floor(damage.at * bytes.length));
  const [before, after] = [bytes.subarray(0, from), bytes.subarray(from)];
  switch (damage.kind) {
    case 'set':
      return Buffer.concat([before, Buffer.of(damage.value), after.subarray(1)]);
    case 'flip':
      return Buffer.concat([before, Buffer.of((after[0] ?? 0) ^ damage.value), after.subarray(1)]);
    case 'cut':
      return before;
    case 'remove':
      return Buffer.concat([before, after.subarray(damage.count)]);
    case 'repeat':
      return Buffer.concat([before, after.subarray(0, damage.count), after]);
    case 'insert':
      return Buffer.concat([before, damage.bytes, after]);
    case 'number': {
      const field = Buffer.alloc(damage.width);
      field.writeUIntLE(damage.value % 2 ** (8 * Math.min(damage.width, 6)), 0, Math.min(damage.width, 6));
      return Buffer.concat([before, field, after.subarray(damage.width)]);
    }
  }
}
