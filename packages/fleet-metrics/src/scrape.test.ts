import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { scrapeAll } from './scrape.js';

it('tells why a process does not answer, and reads the others', async () => {
  const server = createServer((request, response) => {
    const { host = '' } = request.headers;
    if (host.startsWith('localhost')) response.end('x'.repeat(100));
    else response.end('up 1\n');
  });
  await new Promise<void>((resolve) => server.listen(0, resolve));
  const { port } = server.address() as AddressInfo;
  const silent = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const silentPort = (silent.address() as AddressInfo).port;
  const targets = [`127.0.0.1:${port}`, `localhost:${port}`, '127.0.0.1:1', `127.0.0.1:${silentPort}`];
  const scrapes = await scrapeAll(targets, { timeoutMs: 3_000, maxBytes: 50 });
  expect(scrapes.map(({ target }) => target)).toEqual(targets);
  expect(scrapes.map(({ problem }) => problem)).toEqual([
    '',
    expect.stringContaining('more than 50 bytes'),
    'cannot be reached: bad port',
    'does not answer within 3000 ms',
  ]);
  expect(scrapes[0]?.samples).toEqual([{ name: 'up', labels: {}, value: 1 }]);
  server.close();
  silent.close();
  silent.closeAllConnections();
});
