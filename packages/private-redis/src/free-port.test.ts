import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { freeNodePort, freePort } from './index.js';

const RANGE = '/proc/sys/net/ipv4/ip_local_port_range';
afterEach(() => void vi.restoreAllMocks());

describe.runIf(existsSync(RANGE))('a free port', () => {
  const end = existsSync(RANGE) ? Number.parseInt(readFileSync(RANGE, 'utf8'), 10) : 0;

  it.each([0, 0.999_999])(
    'is below the ports of outgoing connections, as is the port of a bus (%d)',
    async (chosen) => {
      vi.spyOn(Math, 'random').mockReturnValueOnce(chosen).mockReturnValueOnce(chosen);
      expect(await freePort()).toBeLessThan(end);
      expect((await freeNodePort()) + 10_000).toBeLessThan(end);
    },
  );
});

it.each([
  ['a port', freePort, 0],
  ['a port of a node', freeNodePort, 0],
  ['a port of a bus', freeNodePort, 10_000],
] as const)('%s that is taken is not chosen', async (_, choose, distance) => {
  const chosen = Math.random();
  const random = vi.spyOn(Math, 'random').mockReturnValueOnce(chosen);
  const port = await choose();
  const server = createServer().listen(port + distance, '127.0.0.1');
  await once(server, 'listening');
  random.mockReturnValueOnce(chosen);
  expect(await choose()).not.toBe(port);
  server.close();
});
