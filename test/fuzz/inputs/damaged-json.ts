import fc from 'fast-check';
import { damagedBytes } from './damaged-bytes.js';
import { hostileJson, hostileNumber, hostileText } from './hostile.js';

/** One damage to a JSON value, at any depth. */
type Damage =
  | { readonly kind: 'replace'; readonly value: unknown }
  | { readonly kind: 'remove' }
  | { readonly kind: 'add'; readonly name: string; readonly value: unknown }
  | { readonly kind: 'rename'; readonly name: string }
  | { readonly kind: 'repeat'; readonly count: number };

const KEYS = ['__proto__', 'constructor', 'prototype', 'toString', 'version', 'userId', 'name', 'path', 'length'];
const key = fc.oneof(fc.constantFrom(...KEYS), hostileText);

const damage: fc.Arbitrary<Damage> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('replace' as const), value: hostileJson }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('replace' as const), value: fc.oneof(hostileNumber, hostileText) }),
  },
  fc.constant({ kind: 'remove' as const }),
  fc.record({ kind: fc.constant('add' as const), name: key, value: fc.oneof(hostileNumber, hostileText, hostileJson) }),
  fc.record({ kind: fc.constant('rename' as const), name: key }),
  fc.record({ kind: fc.constant('repeat' as const), count: fc.integer({ min: 1, max: 700 }) }),
);

/** Copies of JSON values with one to three damages each. */
export function damagedValues(seeds: readonly unknown[]): fc.Arbitrary<unknown> {
  return fc
    .tuple(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat(), damage), { minLength: 1, maxLength: 3 }))
    .map(([seed, damages]) => damages.reduce((value, [index, one]) => withDamage(value, index, one), seed));
}

/** Texts that nest deeper than a parser's stack. */
const deep = fc
  .tuple(fc.constantFrom('[', '{"a":'), fc.nat(100_000), fc.boolean())
  .map(([open, depth, closed]) =>
    Buffer.from(`${open.repeat(depth)}0${closed ? (open === '[' ? ']' : '}').repeat(depth) : ''}`),
  );

/** JSON texts of damaged values, and texts with damaged bytes. */
export function damagedJson(seeds: readonly unknown[]): fc.Arbitrary<Buffer> {
  const texts = seeds.map((seed) => Buffer.from(JSON.stringify(seed)));
  const values = damagedValues(seeds).map((value) => Buffer.from(JSON.stringify(value) ?? 'undefined'));
  return fc.oneof({ weight: 30, arbitrary: values }, { weight: 10, arbitrary: damagedBytes(texts) }, deep);
}

/** Damages one value of the tree: the one with the number `index` among all, counted by depth first. */
function withDamage(root: unknown, index: number, damage: Damage): unknown {
  let left = index % countOf(root);
  const visit = (value: unknown): unknown[] => {
    if (left-- === 0) return damaged(value, damage);
    if (left < 0 || typeof value !== 'object' || value === null) return [value];
    if (Array.isArray(value)) return [value.flatMap(visit)];
    const entries = Object.entries(value).flatMap(([name, inner]) => {
      const isTarget = left === 0 && damage.kind === 'rename';
      const visited = visit(inner);
      return visited.slice(0, 1).map((next) => [isTarget ? damage.name : name, next] as const);
    });
    return [objectOf(entries)];
  };
  return visit(root)[0];
}

function damaged(value: unknown, damage: Damage): unknown[] {
  if (damage.kind === 'replace') return [damage.value];
  if (damage.kind === 'remove') return [];
  if (damage.kind === 'repeat') return Array(damage.count).fill(value);
  if (damage.kind === 'add' && typeof value === 'object' && value !== null) {
    return [
      Array.isArray(value)
        ? [...value, damage.value]
        : objectOf([...Object.entries(value), [damage.name, damage.value]]),
    ];
  }
  return [value];
}

/** An object of the entries. A key `__proto__` is an ordinary key of it, as JSON.parse makes it. */
function objectOf(entries: readonly (readonly [string, unknown])[]): object {
  return Object.fromEntries(entries);
}

function countOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 1;
  return Object.values(value).reduce((count: number, inner) => count + countOf(inner), 1);
}
