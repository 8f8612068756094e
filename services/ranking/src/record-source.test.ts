import { CkvError } from '@collectivekv/domain';
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import { createGrpcServer, type GrpcServer } from '@collectivekv/rpc/server';
import { createLogger, createMetrics } from '@collectivekv/service-kit';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { readThroughUserCache } from './record-reads.js';
import { createRecordSource } from './record-source.js';

let calls: { bundleId: string; userIds: string[] }[];
let answer: (userIds: string[]) => Promise<Buffer[]>;
let server: GrpcServer;
let userCache: GrpcClient<'UserCacheService'>;
const unused = () => Promise.reject(new CkvError('bug', 'unused'));

beforeAll(async () => {
  server = createGrpcServer({
    bind: '127.0.0.1:0',
    log: createLogger('test', 'silent'),
    metrics: createMetrics('test'),
  });
  server.add('UserCacheService', {
    async GetRecords(request) {
      calls.push(request);
      return { records: await answer(request.userIds) };
    },
    AppendPositions: unused,
    ReplaceRecord: unused,
    DeleteRecord: unused,
    DeletePosition: unused,
    Stats: unused,
  });
  const { address } = await server.start();
  userCache = createGrpcClient('UserCacheService', address);
});
afterAll(async () => {
  userCache.close();
  await server.drain(0);
});

const query = (userId: string, maxStalenessMs = 0) => ({
  bundleId: 'b',
  userId,
  maxStalenessMs,
  deadlineMs: Date.now() + 1_000,
});

beforeEach(() => {
  calls = [];
  answer = async (userIds) => userIds.map((userId) => Buffer.from(userId === 'cold' ? '' : `record of ${userId}`));
});

describe('record source', () => {
  it('joins the reads of one moment, and gives everybody their own', async () => {
    const source = createRecordSource({ read: readThroughUserCache(userCache), nearCacheBytes: 0, timeoutMs: 1_000 });
    const users = Array.from({ length: 600 }, (_, i) => `u${i}`);
    const records = await Promise.all([...users, 'cold'].map((userId) => source.get(query(userId))));
    expect(calls.map(({ userIds }) => userIds.length)).toEqual([512, 89]);
    expect(records.slice(0, 600).map(({ bytes }) => String(bytes))).toEqual(
      users.map((userId) => `record of ${userId}`),
    );
    expect(records[600]?.bytes).toBeUndefined();
  });

  it('reads anew unless the caller allows a copy, and then only one young enough', async () => {
    const source = createRecordSource({
      read: readThroughUserCache(userCache),
      nearCacheBytes: 10_000,
      timeoutMs: 1_000,
    });
    await source.get(query('u'));
    await source.get(query('u', 60_000)); // nobody allowed a copy before
    expect(calls.length).toBe(2);
    const copy = await source.get(query('u', 60_000));
    expect(calls.length).toBe(2);
    expect(String(Buffer.from(copy.bytes ?? []))).toBe('record of u');
    const later = Date.now() + 60_001;
    vi.spyOn(Date, 'now').mockReturnValue(later);
    await source.get({ ...query('u', 60_000), deadlineMs: later + 1_000 });
    vi.restoreAllMocks();
    expect(calls.length).toBe(3);
    await source.get({ ...query('u', 60_000), bundleId: 'other' });
    expect(calls.length).toBe(4);
  });

  it('renews a copy by every read of its user', async () => {
    const read = readThroughUserCache(userCache);
    const source = createRecordSource({ read, nearCacheBytes: 10_000, timeoutMs: 1_000 });
    await source.get(query('u', 60_000));
    answer = async () => [Buffer.from('newer')];
    await source.get(query('u'));
    expect(String(Buffer.from((await source.get(query('u', 60_000))).bytes ?? []))).toBe('newer');
    expect(calls.length).toBe(2);
  });

  it('lets nobody wait beyond their own deadline for a call that others wait for longer', async () => {
    const source = createRecordSource({ read: readThroughUserCache(userCache), nearCacheBytes: 0, timeoutMs: 5_000 });
    let finish: () => void = () => undefined;
    answer = (userIds) =>
      new Promise((resolve) => {
        finish = () => resolve(userIds.map(() => Buffer.from('late')));
      });
    const patient = source.get({ ...query('b'), deadlineMs: Date.now() + 5_000 });
    const hasty = source.get({ ...query('a'), deadlineMs: Date.now() + 30 });
    await expect(hasty).rejects.toMatchObject({ reason: 'deadline' });
    finish();
    expect(String(Buffer.from((await patient).bytes ?? []))).toBe('late');
  });

  it('fails everybody who waited for a call that failed, and nobody else', async () => {
    const source = createRecordSource({ read: readThroughUserCache(userCache), nearCacheBytes: 0, timeoutMs: 1_000 });
    answer = async () => {
      throw new CkvError('dependency_unavailable', 'away');
    };
    const failed = await Promise.allSettled([source.get(query('a')), source.get(query('b'))]);
    expect(failed.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    answer = async (userIds) => userIds.map(() => Buffer.from('back'));
    expect(String((await source.get(query('a'))).bytes)).toBe('back');
  });
});
