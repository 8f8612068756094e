// Every rpc of every service against a hundred malformed requests: each is refused with a status that names the field, and
// nobody dies of it.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ServiceProcessName, type Stack, startStack } from '@collectivekv/dev-stack';
import { errorFrom, type MethodName, type ServiceName, services } from '@collectivekv/rpc';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type HandMade, malformedRequests, specOf } from './malformed-requests.js';

const bundleId = '0123456789abcdef';
const long = 'x'.repeat(257);
const floats = (...values: number[]) => Buffer.from(Float32Array.from(values).buffer);
const lengths = (...values: number[]) => Buffer.from(Uint32Array.from(values).buffer);
const interaction = { eventId: 'e', userId: 'u', itemId: 'i0001', timestampMs: 1, action: '', features: {} };
const rank = { userId: 'u', candidateIds: ['i0001', 'i0002'] };
/** The same candidates as a column. */
const packed = { userId: 'u', candidateIdText: Buffer.from('i0001i0002'), candidateIdLengths: lengths(5, 5) };
const append = { userId: 'u', eventHashes: Buffer.alloc(6), rows: Buffer.alloc(5), lastEventMs: 1 };
const appends = { bundleId, strideBytes: 5, maxPositions: 10, appends: [append] };
const many = (count: number) => Array.from({ length: count }, (_, i) => `i${i}`);

/** Interactions wrong in every way, at a path. */
const wrongInteractions = (path: string, wrap: (one: object) => object): HandMade => [
  ['no event id', `${path}.eventId`, wrap({ ...interaction, eventId: '' })],
  ['a long event id', `${path}.eventId`, wrap({ ...interaction, eventId: 'x'.repeat(129) })],
  ['a long user id', `${path}.userId`, wrap({ ...interaction, userId: long })],
  ['no item id', `${path}.itemId`, wrap({ ...interaction, itemId: '' })],
  ['a long item id', `${path}.itemId`, wrap({ ...interaction, itemId: long })],
  ['no timestamp', `${path}.timestampMs`, wrap({ ...interaction, timestampMs: 0 })],
  ['a timestamp before 1970', `${path}.timestampMs`, wrap({ ...interaction, timestampMs: -5 })],
  ['a timestamp beyond 48 bits', `${path}.timestampMs`, wrap({ ...interaction, timestampMs: 2 ** 48 })],
  ['a long action', `${path}.action`, wrap({ ...interaction, action: 'x'.repeat(65) })],
  ['a NaN feature', `${path}.features.a`, wrap({ ...interaction, features: { a: Number.NaN } })],
  ['an infinite feature', `${path}.features.a`, wrap({ ...interaction, features: { a: Number.POSITIVE_INFINITY } })],
  [
    'too many features',
    `${path}.features`,
    wrap({ ...interaction, features: Object.fromEntries(many(65).map((name) => [name, 1])) }),
  ],
];

const wrongBundleIds = (wrap: (id: string) => object): HandMade =>
  ['xyz', '0123456789ABCDEF', '0123456789abcde', '0123456789abcdef0', '../../etc/passwd'].map(
    (id) => [`the bundle id ${id}`, 'bundle_id', wrap(id)] as const,
  );

const wrongRanks: HandMade = [
  ['no user', 'user_id', { ...rank, userId: '' }],
  ['a long user id', 'user_id', { ...rank, userId: long }],
  ['no candidates', 'candidate_ids', { ...rank, candidateIds: [] }],
  ['10,001 candidates', 'candidate_ids', { ...rank, candidateIds: many(10_001) }],
  ['more candidates than the bundle takes', 'candidate_ids', { ...rank, candidateIds: many(1_001) }],
  ['an empty candidate', 'candidate_ids[1]', { ...rank, candidateIds: ['i0001', ''] }],
  ['a long candidate', 'candidate_ids[1]', { ...rank, candidateIds: ['i0001', long] }],
  ['candidates twice', 'candidate_id_text', { ...packed, candidateIds: ['i0001'] }],
  ['half a length', 'candidate_id_lengths', { ...packed, candidateIdLengths: Buffer.alloc(6) }],
  ['lengths without candidates', 'candidate_id_lengths', { ...packed, candidateIdText: Buffer.alloc(0) }],
  ['candidates without lengths', 'candidate_id_lengths', { ...packed, candidateIdLengths: Buffer.alloc(0) }],
  ['lengths of too few bytes', 'candidate_id_lengths', { ...packed, candidateIdLengths: lengths(5, 4) }],
  ['an empty packed candidate', 'candidate_ids[1]', { ...packed, candidateIdLengths: lengths(10, 0) }],
  [
    'a long packed candidate',
    'candidate_ids[0]',
    { ...packed, candidateIdText: Buffer.from(long), candidateIdLengths: lengths(257) },
  ],
  [
    'a NaN feature',
    'candidate_features[0].values[1]',
    { ...rank, candidateFeatures: [{ name: 'freshness', values: floats(0, Number.NaN) }] },
  ],
  [
    'an infinite feature',
    'candidate_features[0].values[0]',
    { ...rank, candidateFeatures: [{ name: 'freshness', values: floats(Number.POSITIVE_INFINITY, 0) }] },
  ],
  [
    'a feature out of bounds',
    'candidate_features[0].values[0]',
    { ...rank, candidateFeatures: [{ name: 'freshness', values: floats(1.5, 0) }] },
  ],
  [
    'a short column',
    'candidate_features[0].values',
    { ...rank, candidateFeatures: [{ name: 'freshness', values: floats(1) }] },
  ],
  [
    'a column of half floats',
    'candidate_features[0].values',
    { ...rank, candidateFeatures: [{ name: 'freshness', values: Buffer.alloc(7) }] },
  ],
  [
    'an unknown feature',
    'candidate_features[0].name',
    { ...rank, candidateFeatures: [{ name: 'x', values: floats(1, 1) }] },
  ],
  [
    'a feature twice',
    'candidate_features[1].name',
    { ...rank, candidateFeatures: Array(2).fill({ name: 'freshness', values: floats(1, 1) }) },
  ],
  [
    'too many columns',
    'candidate_features',
    { ...rank, candidateFeatures: many(65).map((name) => ({ name, values: floats(1, 1) })) },
  ],
  [
    'a NaN context',
    'context_features[0].values[0]',
    { ...rank, contextFeatures: [{ name: 'hour', values: floats(Number.NaN) }] },
  ],
  [
    'two values of a context',
    'context_features[0].values',
    { ...rank, contextFeatures: [{ name: 'hour', values: floats(1, 2) }] },
  ],
  [
    "another user's recent interaction",
    'recent_interactions[0].userId',
    { ...rank, recentInteractions: [{ ...interaction, userId: 'v' }] },
  ],
  ['101 recent interactions', 'recent_interactions', { ...rank, recentInteractions: Array(101).fill(interaction) }],
  ['too much staleness', 'max_staleness_ms', { ...rank, maxStalenessMs: 3_600_001 }],
  ['an unknown bundle', 'bundle_id', { ...rank, bundleId }, ['bundle_not_loaded']],
  ['an unknown policy', 'history_policy', { ...rank, historyPolicy: 9 }],
  ...wrongBundleIds((id) => ({ ...rank, bundleId: id })),
  ...wrongInteractions('recent_interactions[0]', (one) => ({ ...rank, recentInteractions: [one] })),
];

/** For each rpc: a good request, and requests with one thing wrong. */
const RPCS: Record<string, readonly [process: ServiceProcessName, good: object, wrong: HandMade]> = {
  'RankingService/Rank': ['ranking', rank, wrongRanks],
  'RankingService/RankStream': ['ranking', rank, wrongRanks],
  'RankingService/RankMany': [
    'ranking',
    { requests: [rank] },
    [
      ['no requests', 'requests', { requests: [] }],
      ['65 requests', 'requests', { requests: Array(65).fill(rank) }],
    ],
  ],
  'PoolService/Describe': [
    'pool',
    {},
    [
      ['an unknown bundle', 'bundle_id', { bundleId }, ['bundle_not_loaded']],
      ...wrongBundleIds((id) => ({ bundleId: id })),
    ],
  ],
  'PoolService/Gather': [
    'pool',
    { keySlots: Buffer.alloc(4) },
    [
      ['an unknown bundle', 'bundle_id', { bundleId, keySlots: Buffer.alloc(4) }, ['bundle_not_loaded']],
      ['an unknown group', 'group', { group: 'nope', keySlots: Buffer.alloc(4) }],
      ['half a slot', 'key_slots', { keySlots: Buffer.alloc(3) }],
      ['a slot beyond the pool', 'key_slots[1]', { keySlots: Buffer.from(Uint32Array.of(1, 256).buffer) }],
      [
        'a value slot beyond the pool',
        'value_slots[0]',
        { keySlots: Buffer.alloc(4), valueSlots: Buffer.from([0, 0, 0, 9]) },
      ],
      ['too many slots', 'key_slots', { keySlots: Buffer.alloc(400_004) }],
      ['an unknown element type', 'element_type', { keySlots: Buffer.alloc(4), elementType: 7 }],
      ...wrongBundleIds((id) => ({ bundleId: id })),
    ],
  ],
  'PoolService/FetchBundle': [
    'pool',
    {},
    [
      ['an unknown bundle', 'bundle_id', { bundleId }, ['bundle_not_loaded']],
      ...wrongBundleIds((id) => ({ bundleId: id })),
    ],
  ],
  'PoolService/Activate': [
    'pool',
    { bundleId },
    [
      ['no bundle', 'bundle_id', {}],
      ['an unknown bundle', 'bundle_id', { bundleId }, ['bundle_not_loaded']],
      ...wrongBundleIds((id) => ({ bundleId: id })),
    ],
  ],
  'UserCacheService/GetRecords': [
    'user-cache',
    { bundleId, userIds: ['u'] },
    [
      ['no users', 'user_ids', { bundleId, userIds: [] }],
      ['513 users', 'user_ids', { bundleId, userIds: many(513) }],
      ['an empty user', 'user_ids[1]', { bundleId, userIds: ['u', ''] }],
      ['a long user', 'user_ids[0]', { bundleId, userIds: [long] }],
      ...wrongBundleIds((id) => ({ bundleId: id, userIds: ['u'] })),
    ],
  ],
  'UserCacheService/AppendPositions': [
    'user-cache',
    appends,
    [
      ['an append of the past', 'valid_until_ms', { ...appends, validUntilMs: 1 }, ['deadline']],
      ['no stride', 'stride_bytes', { ...appends, strideBytes: 0 }],
      ['a stride of 65,536', 'stride_bytes', { ...appends, strideBytes: 65_536 }],
      ['no longest history', 'max_positions', { ...appends, maxPositions: 0 }],
      ['too long a history', 'max_positions', { ...appends, maxPositions: 1_000_001 }],
      ['no appends', 'appends', { ...appends, appends: [] }],
      ['1,025 appends', 'appends', { ...appends, appends: many(1_025).map((userId) => ({ ...append, userId })) }],
      ['a user twice', 'appends[1].user_id', { ...appends, appends: [append, append] }],
      ['no user', 'appends[0].user_id', { ...appends, appends: [{ ...append, userId: '' }] }],
      ['half a row', 'appends[0].rows', { ...appends, appends: [{ ...append, rows: Buffer.alloc(4) }] }],
      ['no rows', 'appends[0].rows', { ...appends, appends: [{ ...append, rows: Buffer.alloc(0) }] }],
      [
        '15 rows',
        'appends[0].rows',
        { ...appends, appends: [{ ...append, rows: Buffer.alloc(75), eventHashes: Buffer.alloc(90) }] },
      ],
      [
        'half a hash',
        'appends[0].event_hashes',
        { ...appends, appends: [{ ...append, eventHashes: Buffer.alloc(5) }] },
      ],
      ['no time', 'appends[0].last_event_ms', { ...appends, appends: [{ ...append, lastEventMs: 0 }] }],
      [
        'a time beyond 48 bits',
        'appends[0].last_event_ms',
        { ...appends, appends: [{ ...append, lastEventMs: 2 ** 48 }] },
      ],
      ...wrongBundleIds((id) => ({ ...appends, bundleId: id })),
    ],
  ],
  'UserCacheService/ReplaceRecord': [
    'user-cache',
    { bundleId, userId: 'u', record: Buffer.alloc(30) },
    [
      ['no user', 'user_id', { bundleId, record: Buffer.alloc(30) }],
      ['no record', 'record', { bundleId, userId: 'u' }],
      ['zeros', 'record', { bundleId, userId: 'u', record: Buffer.alloc(30) }],
      ['a text', 'record', { bundleId, userId: 'u', record: Buffer.from('CK, or is it? It is a text, not a record.') }],
      ...wrongBundleIds((id) => ({ bundleId: id, userId: 'u', record: Buffer.alloc(30) })),
    ],
  ],
  'UserCacheService/DeleteRecord': [
    'user-cache',
    { userId: 'u' },
    [
      ['no user', 'user_id', {}],
      ['a long user', 'user_id', { userId: long }],
    ],
  ],
  'UserCacheService/DeletePosition': [
    'user-cache',
    { bundleId, userId: 'u', eventHash: Buffer.alloc(6) },
    [
      ['no user', 'user_id', { bundleId, eventHash: Buffer.alloc(6) }],
      ['no hash', 'event_hash', { bundleId, userId: 'u' }],
      ['a short hash', 'event_hash', { bundleId, userId: 'u', eventHash: Buffer.alloc(5) }],
      ['a long row', 'row', { bundleId, userId: 'u', eventHash: Buffer.alloc(6), row: Buffer.alloc(65_536) }],
      [
        'a short tolerance',
        'row_tolerance',
        { bundleId, userId: 'u', eventHash: Buffer.alloc(6), row: Buffer.alloc(5), rowTolerance: Buffer.alloc(4) },
      ],
      ['an unknown user', 'user_id', { bundleId, userId: 'nobody', eventHash: Buffer.alloc(6) }, ['user_not_found']],
      ...wrongBundleIds((id) => ({ bundleId: id, userId: 'u', eventHash: Buffer.alloc(6) })),
    ],
  ],
  'UserCacheService/Stats': [
    'user-cache',
    {},
    [['too many records', 'max_records', { maxRecords: 1_000_001 }], ...wrongBundleIds((id) => ({ bundleId: id }))],
  ],
  'InteractionService/Record': [
    'updater',
    { interactions: [interaction] },
    [
      ['no interactions', 'interactions', { interactions: [] }],
      ['1,001 interactions', 'interactions', { interactions: Array(1_001).fill(interaction) }],
      ['no user', 'interactions[1].userId', { interactions: [interaction, { ...interaction, userId: '' }] }],
      ...wrongInteractions('interactions[0]', (one) => ({ interactions: [one] })),
    ],
  ],
  'InteractionService/Forget': [
    'updater',
    { interaction },
    [
      ['nothing', 'interaction.eventId', {}],
      ['no user', 'interaction.userId', { interaction: { ...interaction, userId: '' } }],
      ['a long event', 'interaction.eventId', { interaction: { ...interaction, eventId: 'x'.repeat(129) } }],
    ],
  ],
};
/** Requests without fields: there is nothing in them to be wrong. */
const WITHOUT_FIELDS = ['PoolService/WatchBundles', 'PoolService/Rollback'];

let dir: string;
let stack: Stack;
const clients = new Map<ServiceProcessName, Client>();
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-contract-'));
  stack = await startStack({ dir, bundlesDir: fileURLToPath(new URL('../../bundles/demo', import.meta.url)) });
  for (const [name, target] of Object.entries(stack.targets)) {
    clients.set(name as ServiceProcessName, new Client(target, credentials.createInsecure()));
  }
});
afterAll(async () => {
  for (const client of clients.values()) client.close();
  await stack?.stop();
  await rm(dir, { recursive: true, force: true });
});

it('covers every rpc that has a request', () => {
  const all = (Object.keys(services) as ServiceName[]).flatMap((service) =>
    Object.keys(services[service].service).map((method) => `${service}/${method}`),
  );
  expect([...Object.keys(RPCS), ...WITHOUT_FIELDS].sort()).toEqual(all.sort());
});

describe.each(Object.entries(RPCS))('%s', (rpc, [process, good, wrong]) => {
  const [service, method] = rpc.split('/') as [ServiceName, MethodName<ServiceName>];
  const spec = specOf(service, method);
  const call = (bytes: Buffer) => send(clients.get(process) as Client, spec, bytes);

  it('refuses a hundred malformed requests, each with the field at fault', async () => {
    const requests = malformedRequests(service, method, good, wrong);
    expect(requests.length).toBeGreaterThanOrEqual(100);
    for (const { what, field, bytes, reasons = ['invalid_request'] } of requests) {
      const error = await call(bytes);
      if (!error) expect.unreachable(`accepted ${what}`);
      const { reason, field: named, message } = errorFrom(error);
      expect({ what, reason }).toEqual({ what, reason: expect.toSatisfy((value: string) => reasons.includes(value)) });
      expect({ what, named: named ?? message }).toEqual({ what, named: expect.stringContaining(field) });
    }
  });
});

it('left every process alive and well', async () => {
  const ended = Promise.race([stack.failure.catch((error) => error), Promise.resolve('alive')]);
  expect(await ended).toBe('alive');
  for (const service of Object.values(stack.services).flat()) await service.untilReady(1_000);
});

/** Sends bytes as a request; resolves with the failure, or undefined where it was accepted. */
function send(
  client: Client,
  { path, requestStream, responseStream }: ReturnType<typeof specOf>,
  bytes: Buffer,
): Promise<ServiceError | undefined> {
  const asIs = (value: Buffer) => value;
  return new Promise((resolve) => {
    const deadline = { deadline: Date.now() + 10_000 };
    if (!requestStream && !responseStream) {
      client.makeUnaryRequest(path, asIs, asIs, bytes, deadline, (error) => resolve(error ?? undefined));
      return;
    }
    const call = requestStream
      ? client.makeBidiStreamRequest(path, asIs, asIs, deadline).end(bytes)
      : client.makeServerStreamRequest(path, asIs, asIs, bytes, deadline);
    call.on('data', () => undefined);
    call.on('error', (error) => resolve(error as ServiceError));
    call.on('end', () => resolve(undefined));
  });
}
