import type {
  AppendPositionsRequest__Output,
  AppendPositionsResponse,
  DeletePositionRequest__Output,
  DeletePositionResponse,
  DeleteRecordRequest__Output,
  DeleteRecordResponse,
  DropRecordsRequest__Output,
  DropRecordsResponse,
  GetRecordsRequest__Output,
  GetRecordsResponse,
  ReplaceRecordRequest__Output,
  ReplaceRecordResponse,
  StatsRequest__Output,
  StatsResponse,
  UserAppend__Output,
} from '@collectivekv/contracts';
import {
  CkvError,
  counted,
  decodeRecord,
  EVENT_HASH_BYTES,
  invalidRequest,
  LIMITS,
  MAX_STRIDE_BYTES,
  parseId,
  strideOf,
} from '@collectivekv/domain';
import type { CallContext } from '@collectivekv/rpc/server';
import type { Append, PositionMatch, UserStore } from '@collectivekv/user-store';
import type { UserCacheMetrics } from './metrics.js';

const MAX_READS = 512;
const MAX_APPENDS = 1_024;
const MAX_ENCODINGS = 20_000;
const MAX_POSITIONS = 1_000_000;
const MAX_STATS_RECORDS = 1_000_000;

/** Creates the handlers of UserCacheService: they pass messages to the store and back. */
export function createUserCacheHandlers(store: UserStore, metrics: UserCacheMetrics) {
  return {
    async GetRecords({ encodingId, userIds }: GetRecordsRequest__Output): Promise<GetRecordsResponse> {
      checkEncodingId(encodingId, 'encoding_id');
      checkRange('user_ids', userIds.length, 1, MAX_READS);
      for (const [i, userId] of userIds.entries()) parseId(userId, `user_ids[${i}]`, LIMITS.idBytes);
      const records = await store.getRecords(encodingId, userIds);
      const found = records.filter((record) => record !== undefined).length;
      metrics.observeReads(found, records.length - found);
      return { records: records.map((record) => (record ? asBuffer(record) : Buffer.alloc(0))) };
    },

    async AppendPositions(request: AppendPositionsRequest__Output): Promise<AppendPositionsResponse> {
      const { encodingId, strideBytes, maxPositions, appends, validUntilMs } = request;
      checkEncodingId(encodingId, 'encoding_id');
      checkRange('stride_bytes', strideBytes, 1, MAX_STRIDE_BYTES);
      checkRange('max_positions', maxPositions, 1, MAX_POSITIONS);
      checkRange('appends', appends.length, 1, MAX_APPENDS);
      const users = new Set<string>();
      const parsed = appends.map((append, i) => appendOf(append, `appends[${i}]`, users));
      const shape = { encodingId, strideBytes, maxPositions };
      const outcomes = await store.appendPositions(shape, parsed, { validUntilMs });
      metrics.observeAppends(outcomes);
      return { outcomes };
    },

    async ReplaceRecord({ encodingId, userId, record }: ReplaceRecordRequest__Output): Promise<ReplaceRecordResponse> {
      checkEncodingId(encodingId, 'encoding_id');
      parseId(userId, 'user_id', LIMITS.idBytes);
      checkRecord(record, encodingId);
      await store.replaceRecord(encodingId, userId, record);
      return {};
    },

    async DeleteRecord(request: DeleteRecordRequest__Output): Promise<DeleteRecordResponse> {
      const { userId, encodingIds, keepRecords, validUntilMs } = request;
      parseId(userId, 'user_id', LIMITS.idBytes);
      checkRange('encoding_ids', encodingIds.length, 0, MAX_ENCODINGS);
      for (const [i, encodingId] of encodingIds.entries()) checkEncodingId(encodingId, `encoding_ids[${i}]`);
      const encodings = await store.deleteUser(userId, { encodingIds, keepRecords }, { validUntilMs });
      return { deletedCount: keepRecords ? 0 : encodings.filter(({ record }) => record).length, encodings };
    },

    async DeletePosition(request: DeletePositionRequest__Output): Promise<DeletePositionResponse> {
      const { encodingId, userId, validUntilMs } = request;
      checkEncodingId(encodingId, 'encoding_id');
      parseId(userId, 'user_id', LIMITS.idBytes);
      return store.deletePosition(encodingId, userId, matchOf(request), { validUntilMs });
    },

    async DropRecords(request: DropRecordsRequest__Output): Promise<DropRecordsResponse> {
      const { encodingId, cursor, validUntilMs } = request;
      checkEncodingId(encodingId, 'encoding_id');
      checkRange('valid_until_ms', validUntilMs, 1, LIMITS.timestampMs);
      return store.dropRecords(encodingId, cursor, { validUntilMs });
    },

    async Stats({ encodingId, maxRecords }: StatsRequest__Output, { signal }: CallContext): Promise<StatsResponse> {
      if (encodingId !== '') checkEncodingId(encodingId, 'encoding_id');
      checkRange('max_records', maxRecords, 0, MAX_STATS_RECORDS);
      const stats = await store.stats(encodingId, maxRecords === 0 ? MAX_STATS_RECORDS : maxRecords, signal);
      return { ...stats, encodings: [...stats.encodings] };
    },
  };
}

function appendOf(append: UserAppend__Output, at: string, users: Set<string>): Append {
  const userId = parseId(append.userId, `${at}.user_id`, LIMITS.idBytes);
  if (users.has(userId)) {
    throw invalidRequest(`${at}.user_id`, 'is duplicated', "join a user's rows in one append, oldest first");
  }
  users.add(userId);
  const { lastEventMs } = append;
  if (!(lastEventMs >= 1 && lastEventMs <= LIMITS.timestampMs)) {
    throw invalidRequest(
      `${at}.last_event_ms`,
      `is ${lastEventMs}, 1 to ${LIMITS.timestampMs} is required`,
      'send Unix milliseconds',
    );
  }
  return { userId, eventHashes: append.eventHashes, rows: append.rows, lastEventMs };
}

function matchOf({ eventHash, row, rowTolerance }: DeletePositionRequest__Output): PositionMatch {
  if (eventHash.length !== EVENT_HASH_BYTES) {
    const problem = `has ${counted(eventHash.length, 'byte')}, ${EVENT_HASH_BYTES} are required`;
    throw invalidRequest('event_hash', problem, 'send the hash of docs/wire-format.md');
  }
  checkRange('row', row.length, 0, MAX_STRIDE_BYTES);
  if (rowTolerance.length !== 0 && rowTolerance.length !== row.length) {
    const problem = `has ${counted(rowTolerance.length, 'byte')}, row has ${row.length}`;
    throw invalidRequest('row_tolerance', problem, 'send one byte for each byte of row, or none');
  }
  return { eventHash, row, tolerance: rowTolerance };
}

/** Throws invalid_request for a record that its readers would refuse. */
function checkRecord(record: Uint8Array, encodingId: string): void {
  try {
    decodeRecord(record, { encodingId, strideBytes: strideOf(record) });
  } catch (error) {
    if (!(error instanceof CkvError)) throw error;
    throw invalidRequest('record', error.message.replace(/^record is /, 'is '), 'send a record of this encoding');
  }
}

function checkEncodingId(encodingId: string, field: string): void {
  if (/^[0-9a-f]{16}$/.test(encodingId)) return;
  throw invalidRequest(
    field,
    'is not 16 hexadecimal characters',
    "send the encoding's id, as PoolService.Describe names it",
  );
}

function checkRange(field: string, value: number, min: number, max: number): void {
  if (value >= min && value <= max) return;
  throw invalidRequest(
    field,
    `is or counts ${value}, ${min} to ${max} is allowed`,
    value > max ? 'send less' : 'send more',
  );
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
