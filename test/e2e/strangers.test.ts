// Clients that are not ours: Python, and a raw gRPC client that has none of our protos.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Client, credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type E2eStack, startE2e } from './e2e-stack.js';
import { pythonWith } from './python.js';

let e2e: E2eStack;
beforeAll(async () => {
  e2e = await startE2e();
});
afterAll(() => e2e?.close());

const python = pythonWith('grpc, grpc_tools, bullmq');

describe.skipIf(!python)('Python', () => {
  it('queues interactions with its own BullMQ package, and gets the scores of the TypeScript client', async () => {
    const script = fileURLToPath(new URL('./python_client.py', import.meta.url));
    const protos = fileURLToPath(new URL('../../proto', import.meta.url));
    const args = [script, protos, e2e.stack.redisUrl, e2e.stack.targets.ranking];
    const run = spawnSync(python ?? '', args, { encoding: 'utf8' });
    expect(run.stderr).toBe('');
    const answer = JSON.parse(run.stdout) as { scores: number[]; streamed: number[][]; positions: number };
    expect(answer.positions).toBe(20);
    expect(answer.streamed).toEqual([answer.scores, answer.scores]);
    const own = await e2e.client.rank({ userId: 'py', candidateIds: ['i0001', 'i0002', 'i0003'] });
    expect(own.info.positionCount).toBe(20);
    expect(answer.scores).toHaveLength(3);
    answer.scores.forEach((score, i) => {
      expect(score).toBeCloseTo(own.scores[i] ?? Number.NaN, 6);
    });
  });
});

describe.each([
  ['pool', 'PoolService'],
  ['user-cache', 'UserCacheService'],
  ['ranking', 'RankingService'],
  ['updater', 'InteractionService'],
] as const)('a raw gRPC client of %s', (name, service) => {
  const asIs = (bytes: Buffer) => bytes;
  let client: Client;
  beforeAll(() => {
    client = new Client(e2e.stack.targets[name], credentials.createInsecure());
  });
  afterAll(() => client.close());

  it('finds it healthy', async () => {
    const answer = new Promise((resolve, reject) => {
      client.makeUnaryRequest('/grpc.health.v1.Health/Check', asIs, asIs, Buffer.alloc(0), (error, bytes) =>
        error ? reject(error) : resolve(bytes),
      );
    });
    expect(await answer).toEqual(Buffer.from([0x08, 1])); // status: SERVING
  });

  it('finds its service by reflection', async () => {
    const stream = client.makeBidiStreamRequest(
      '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
      asIs,
      asIs,
    );
    stream.end(Buffer.from([0x3a, 0])); // list_services
    const answers = await stream.toArray();
    expect(Buffer.concat(answers).toString()).toContain(`collectivekv.v1.${service}`);
  });
});
