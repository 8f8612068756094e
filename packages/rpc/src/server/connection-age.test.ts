import { once } from 'node:events';
import { connect } from 'node:http2';
import { CkvError } from '@collectivekv/domain';
import { afterEach, expect, it } from 'vitest';
import { createGrpcClient } from '../client/grpc-client.js';
import { createGrpcServer } from './grpc-server.js';

const log = { debug: () => undefined, warn: () => undefined, error: () => undefined };
const metrics = { rpcSeconds: { observe: () => undefined } };
const unused = () => Promise.reject(new CkvError('bug', 'unused'));
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

it('asks callers to connect again at an age, and loses no call by it', async () => {
  const server = createGrpcServer({ bind: '127.0.0.1:0', log, metrics, maxConnectionAgeMs: 50 });
  server.add('UserCacheService', {
    GetRecords: async () => ({ records: [] }),
    AppendPositions: unused,
    DeletePosition: unused,
    ReplaceRecord: unused,
    DeleteRecord: unused,
    DropRecords: unused,
    Stats: unused,
  });
  const { address } = await server.start();
  closing.push(() => server.drain(0));
  const client = createGrpcClient('UserCacheService', address);
  closing.push(client.close);
  let aged = 0;
  let answered = 0;
  const callers = Array.from({ length: 8 }, async () => {
    while (aged < 10) {
      await client.call('GetRecords', { encodingId: '', userIds: ['u'] });
      answered++;
    }
  });
  // Another connection beside it, so that the test sees ages pass.
  for (; aged < 10; aged++) {
    const session = connect(`http://${address}`).on('error', () => undefined);
    await once(session, 'goaway');
    session.destroy();
  }
  await Promise.all(callers);
  expect(answered).toBeGreaterThan(8);
});
