import type { HandMade } from './malformed-requests.js';

/** RPCs by `Service/Method`: a valid request, and requests that are wrong in one way each. */
export type Rpcs = Readonly<Record<string, readonly [valid: object, wrong: HandMade]>>;

/** A well-formed bundle id of no loaded bundle. */
export const bundleId = '0123456789abcdef';
/** A well-formed encoding id of no record. */
export const encodingId = '0123456789abcdef';
/** An id of one byte more than the limit. */
export const longId = 'x'.repeat(257);
/** A valid interaction. */
export const interaction = {
  eventId: 'e',
  userId: 'u',
  itemId: 'i0001',
  timestampMs: 1_700_000_000_000,
  action: '',
  features: {},
};

/** Returns `count` different ids. */
export function manyIds(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `i${i}`);
}

/** Returns requests with a malformed bundle id. */
export function wrongBundleIds(wrap: (id: string) => object): HandMade {
  return wrongIds('bundle_id', wrap);
}

/** Returns requests with a malformed encoding id. */
export function wrongEncodingIds(wrap: (id: string) => object): HandMade {
  return wrongIds('encoding_id', wrap);
}

function wrongIds(field: string, wrap: (id: string) => object): HandMade {
  const ids = ['xyz', '0123456789ABCDEF', '0123456789abcde', '0123456789abcdef0', '../../etc/passwd'];
  return ids.map((id) => [`${id} as ${field}`, field, wrap(id)] as const);
}

/** Returns requests whose interaction at `path` is wrong in one way each. */
export const wrongInteractions = (path: string, wrap: (one: object) => object): HandMade => [
  ['no event id', `${path}.eventId`, wrap({ ...interaction, eventId: '' })],
  ['a long event id', `${path}.eventId`, wrap({ ...interaction, eventId: 'x'.repeat(129) })],
  ['a long user id', `${path}.userId`, wrap({ ...interaction, userId: longId })],
  ['no item id', `${path}.itemId`, wrap({ ...interaction, itemId: '' })],
  ['a long item id', `${path}.itemId`, wrap({ ...interaction, itemId: longId })],
  ['no timestamp', `${path}.timestampMs`, wrap({ ...interaction, timestampMs: 0 })],
  ['a timestamp before 1970', `${path}.timestampMs`, wrap({ ...interaction, timestampMs: -5 })],
  ['a timestamp beyond 48 bits', `${path}.timestampMs`, wrap({ ...interaction, timestampMs: 2 ** 48 })],
  ['a long action', `${path}.action`, wrap({ ...interaction, action: 'x'.repeat(65) })],
  ['a NaN feature', `${path}.features.a`, wrap({ ...interaction, features: { a: Number.NaN } })],
  ['an infinite feature', `${path}.features.a`, wrap({ ...interaction, features: { a: Number.POSITIVE_INFINITY } })],
  [
    'too many features',
    `${path}.features`,
    wrap({ ...interaction, features: Object.fromEntries(manyIds(65).map((name) => [name, 1])) }),
  ],
];
