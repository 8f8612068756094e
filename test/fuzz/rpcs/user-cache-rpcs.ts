import { encodingId, longId, manyIds, type Rpcs, wrongEncodingIds } from './shared-cases.js';

/** A fence that has not ended: the year 2100. */
const LATER = 4_102_444_800_000;

const append = { userId: 'u', eventHashes: Buffer.alloc(6), rows: Buffer.alloc(5), lastEventMs: 1 };
const appends = { encodingId, strideBytes: 5, maxPositions: 10, appends: [append] };

/** RPCs of UserCacheService with their malformed requests. */
export const USER_CACHE_RPCS: Rpcs = {
  'UserCacheService/GetRecords': [
    { encodingId, userIds: ['u'] },
    [
      ['no users', 'user_ids', { encodingId, userIds: [] }],
      ['513 users', 'user_ids', { encodingId, userIds: manyIds(513) }],
      ['an empty user', 'user_ids[1]', { encodingId, userIds: ['u', ''] }],
      ['a long user', 'user_ids[0]', { encodingId, userIds: [longId] }],
      ...wrongEncodingIds((id) => ({ encodingId: id, userIds: ['u'] })),
    ],
  ],
  'UserCacheService/AppendPositions': [
    appends,
    [
      ['an append of the past', 'valid_until_ms', { ...appends, validUntilMs: 1 }, ['deadline']],
      ['no stride', 'stride_bytes', { ...appends, strideBytes: 0 }],
      ['a stride of 65,536', 'stride_bytes', { ...appends, strideBytes: 65_536 }],
      ['no longest history', 'max_positions', { ...appends, maxPositions: 0 }],
      ['too long a history', 'max_positions', { ...appends, maxPositions: 1_000_001 }],
      ['no appends', 'appends', { ...appends, appends: [] }],
      ['1,025 appends', 'appends', { ...appends, appends: manyIds(1_025).map((userId) => ({ ...append, userId })) }],
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
      ...wrongEncodingIds((id) => ({ ...appends, encodingId: id })),
    ],
  ],
  'UserCacheService/ReplaceRecord': [
    { encodingId, userId: 'u', record: Buffer.alloc(30) },
    [
      ['no user', 'user_id', { encodingId, record: Buffer.alloc(30) }],
      ['no record', 'record', { encodingId, userId: 'u' }],
      ['zeros', 'record', { encodingId, userId: 'u', record: Buffer.alloc(30) }],
      [
        'a text',
        'record',
        { encodingId, userId: 'u', record: Buffer.from('CK, or is it? It is a text, not a record.') },
      ],
      ...wrongEncodingIds((id) => ({ encodingId: id, userId: 'u', record: Buffer.alloc(30) })),
    ],
  ],
  'UserCacheService/DeleteRecord': [
    { userId: 'u' },
    [
      ['no user', 'user_id', {}],
      ['a long user', 'user_id', { userId: longId }],
      ['20,001 encodings', 'encoding_ids', { userId: 'u', encodingIds: Array(20_001).fill(encodingId) }],
      [
        'a deletion of the past',
        'valid_until_ms',
        { userId: 'u', validUntilMs: 1, encodingIds: [encodingId] },
        ['deadline'],
      ],
    ],
  ],
  'UserCacheService/DeletePosition': [
    { encodingId, userId: 'u', eventHash: Buffer.alloc(6) },
    [
      ['no user', 'user_id', { encodingId, eventHash: Buffer.alloc(6) }],
      ['no hash', 'event_hash', { encodingId, userId: 'u' }],
      ['a short hash', 'event_hash', { encodingId, userId: 'u', eventHash: Buffer.alloc(5) }],
      ['a long row', 'row', { encodingId, userId: 'u', eventHash: Buffer.alloc(6), row: Buffer.alloc(65_536) }],
      [
        'a short tolerance',
        'row_tolerance',
        { encodingId, userId: 'u', eventHash: Buffer.alloc(6), row: Buffer.alloc(5), rowTolerance: Buffer.alloc(4) },
      ],
      ['an unknown user', 'user_id', { encodingId, userId: 'nobody', eventHash: Buffer.alloc(6) }, ['user_not_found']],
      ...wrongEncodingIds((id) => ({ encodingId: id, userId: 'u', eventHash: Buffer.alloc(6) })),
    ],
  ],
  'UserCacheService/DropRecords': [
    { encodingId, validUntilMs: LATER },
    [
      ['a cursor of no answer', 'cursor', { encodingId, cursor: 'x', validUntilMs: LATER }],
      ['no fence', 'valid_until_ms', { encodingId }],
      ['a fence before the epoch', 'valid_until_ms', { encodingId, validUntilMs: -1 }],
      ...wrongEncodingIds((id) => ({ encodingId: id, validUntilMs: LATER })),
    ],
  ],
  'UserCacheService/Stats': [
    {},
    [['too many records', 'max_records', { maxRecords: 1_000_001 }], ...wrongEncodingIds((id) => ({ encodingId: id }))],
  ],
};
