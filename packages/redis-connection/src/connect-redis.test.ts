import { createServer } from 'node:net';
import { expect, it } from 'vitest';
import { connectedRedis } from './connect-redis.js';

it('gives up when nothing answers in time, and says where and why', async () => {
  const options = { field: 'CKV_REDIS_URL', name: 'test', whenAway: 'fail' } as const;
  await expect(connectedRedis('redis://127.0.0.1:1', options, 200)).rejects.toMatchObject({
    reason: 'dependency_unavailable',
    message: expect.stringMatching(/^CKV_REDIS_URL: Redis cannot be reached \(connect ECONNREFUSED/),
  });
});

it('goes on trying until its time is over: what refuses at first may be starting', async () => {
  let attempts = 0;
  const server = createServer((socket) => {
    attempts++;
    socket.destroy();
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  const options = { field: 'url', name: 'test', whenAway: 'fail' } as const;
  await expect(connectedRedis(`redis://127.0.0.1:${port}`, options, 500)).rejects.toMatchObject({
    reason: 'dependency_unavailable',
  });
  expect(attempts).toBeGreaterThan(1);
  server.close();
});
