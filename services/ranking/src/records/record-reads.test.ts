import { CkvError } from '@collectivekv/domain';
import { createGrpcClient } from '@collectivekv/rpc';
import { createGrpcServer } from '@collectivekv/rpc/server';
import { createLogger, createMetrics } from '@collectivekv/service-kit';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { loadConfig } from '../config.js';
import { openRecordReads, readThroughUserCache, reporting } from './record-reads.js';

describe('the report of failed reads', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('logs the cause once in ten seconds, and passes every failure on', async () => {
    vi.useFakeTimers();
    const warn = vi.fn();
    const refused = new CkvError('dependency_unavailable', 'Redis refused', { cause: new Error('NOPERM') });
    const read = reporting(() => Promise.reject(refused), { warn });
    const readThrice = async () => {
      for (let i = 0; i < 3; i++) await expect(read('b', 'u', 0)).rejects.toBe(refused);
    };
    await readThrice();
    expect(warn.mock.calls).toEqual([
      [{ reason: 'dependency_unavailable', problem: 'Redis refused: NOPERM' }, 'a record cannot be read'],
    ]);
    vi.advanceTimersByTime(9_999);
    await readThrice();
    expect(warn).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(1);
    await readThrice();
    expect(warn).toHaveBeenCalledTimes(2);
  });

  it('logs nothing about reads that succeed', async () => {
    const warn = vi.fn();
    const bytes = Uint8Array.of(1);
    expect(await reporting(async () => bytes, { warn })('b', 'u', 0)).toBe(bytes);
    expect(warn).not.toHaveBeenCalled();
  });
});

it('reads records through the user-cache, which answers no bytes for a cold user', async () => {
  const unused = () => Promise.reject(new CkvError('bug', 'unused'));
  const requests: unknown[] = [];
  const server = createGrpcServer({
    bind: '127.0.0.1:0',
    log: createLogger('test', 'silent'),
    metrics: createMetrics('test'),
  });
  server.add('UserCacheService', {
    async GetRecords(request) {
      requests.push(request);
      return { records: request.userIds.map((userId) => Buffer.from(userId === 'cold' ? '' : `record of ${userId}`)) };
    },
    AppendPositions: unused,
    ReplaceRecord: unused,
    DeleteRecord: unused,
    DeletePosition: unused,
    DropRecords: unused,
    Stats: unused,
  });
  const { address } = await server.start();
  const userCache = createGrpcClient('UserCacheService', address);
  try {
    const read = readThroughUserCache(userCache);
    const deadlineMs = Date.now() + 60_000;
    const records = await Promise.all(['u', 'cold'].map((userId) => read('b', userId, deadlineMs)));
    expect(records.map((bytes) => bytes && String(Buffer.from(bytes)))).toEqual(['record of u', undefined]);
    expect(requests).toMatchObject([{ encodingId: 'b', userIds: ['u', 'cold'] }]);
  } finally {
    userCache.close();
    await server.drain(0);
  }
});

it('refuses a bad Redis URL', () => {
  const config = loadConfig({ CKV_REDIS_URL: 'http://127.0.0.1' });
  expect(() =>
    openRecordReads(config, { log: createLogger('test', 'silent'), clientOptions: {}, onFileOutcome: () => undefined }),
  ).toThrow(/CKV_REDIS_URL/);
});
