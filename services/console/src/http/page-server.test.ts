import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as ask, createServer, type IncomingHttpHeaders } from 'node:http';
import { request as askTls } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CkvError } from '@collectivekv/domain';
import { createCertificateAuthority } from '@collectivekv/private-ca';
import { createMetrics } from '@collectivekv/service-kit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '../config.js';
import type { PageFile } from './page-files.js';
import { createPageServer, type PageServer, type Routes } from './page-server.js';

const VIEWER = 'token-of-a-viewer-123';
const ADMIN = 'token-of-an-admin-1234';
const FEED = 'token-of-the-feed-1234';
const USER = 'user-that-no-log-may-have';
const PAGE: ReadonlyMap<string, PageFile> = new Map([
  [
    '/',
    { bytes: Buffer.from('<!doctype html>'), headers: { 'content-type': 'text/html', 'cache-control': 'no-cache' } },
  ],
]);
const ROUTES: Routes = {
  look: { answer: (request) => ({ request }) },
  change: { changes: true, answer: (_, { token }) => ({ token }) },
  wrong: {
    answer() {
      throw new CkvError('invalid_request', `userId: ${USER} has too many bytes; send a shorter one`);
    },
  },
  broken: {
    answer() {
      throw new Error(`a defect, with ${USER} in it`);
    },
  },
  slow: {
    answer: (_, { signal }) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  },
};

let dir: string;
let lines: unknown[];
let server: PageServer | undefined;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-page-'));
  lines = [];
  writeFileSync(join(dir, 'tokens'), `read ${VIEWER}\nadmin ${ADMIN} operators\nrank,write ${FEED}\n`);
});
afterEach(async () => {
  await server?.drain(0);
  server = undefined;
  rmSync(dir, { recursive: true, force: true });
});

/** Starts a server. Returns its address. */
async function start(env: Record<string, string> = {}, routes = ROUTES): Promise<string> {
  const note = (...line: unknown[]) => void lines.push(line.map(textOf));
  const log = { debug: note, info: note, warn: note, error: note, fatal: note };
  const config = loadConfig({ CKV_BIND: '127.0.0.1:0', ...env });
  server = createPageServer(config, { log, metrics: createMetrics('console'), onFileOutcome: () => undefined });
  server.serve(PAGE, routes);
  return (await server.start()).address;
}
const withTokens = (env: Record<string, string> = {}) => start({ CKV_TOKENS_FILE: join(dir, 'tokens'), ...env });

function textOf(part: unknown): unknown {
  return part instanceof Error ? part.message : part;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** Sends a request. Headers that are '' are left out. */
function send(
  address: string,
  path: string,
  {
    method = 'POST',
    body = '{}',
    headers = {},
  }: { method?: string; body?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const [host, port] = address.split(':');
  const all = { 'content-type': 'application/json', ...headers };
  const sent = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ''));
  return new Promise((resolve, reject) => {
    const call = ask({ host, port, path, method, headers: sent, agent: false }, async (response) => {
      let text = '';
      for await (const piece of response) text += piece;
      resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
    });
    call.on('error', reject);
    call.end(method === 'POST' ? body : undefined);
  });
}
const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });

describe('every answer', () => {
  it.each([
    ['the page', '/', 'GET'],
    ['a request', '/api/look', 'POST'],
    ['a page that is not there', '/other', 'GET'],
    ['a failure', '/api/wrong', 'POST'],
  ])('%s has headers against foreign scripts, frames and guesses', async (_, path, method) => {
    const { headers } = await send(await start(), path, { method });
    expect(headers['content-security-policy']).toContain("default-src 'none'");
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'");
    expect(headers['content-security-policy']).not.toContain('unsafe');
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
    });
    if (path.startsWith('/api')) expect(headers['cache-control']).toBe('no-store');
  });

  it.each(['/?user=x', '/api/look?user=x', '/../package.json', '/%2e%2e/package.json', '/api/__proto__', '/api/'])(
    '%s is no address',
    async (path) => {
      const { status, text } = await send(await start(), path);
      expect([status, JSON.parse(text).reason]).toEqual([400, 'invalid_request']);
    },
  );
});

describe('a caller', () => {
  it.each([
    ['no token', '', 401, 'unauthenticated'],
    ['a wrong token', 'wrong-token-12345678', 401, 'unauthenticated'],
    ['a token of another role', FEED, 403, 'permission_denied'],
  ])('with %s gets nothing', async (_, token, status, reason) => {
    const address = await withTokens({ CKV_CONSOLE_WRITES: 'true' });
    for (const path of ['/api/look', '/api/change']) {
      const answer = await send(address, path, bearer(token));
      expect([answer.status, JSON.parse(answer.text).reason]).toEqual([status, reason]);
      expect(answer.text).toMatch(/role (read or )?admin/);
    }
    expect(JSON.stringify(lines)).not.toContain(token || 'no token at all');
  });

  it('with the role read looks, and changes nothing', async () => {
    const address = await withTokens({ CKV_CONSOLE_WRITES: 'true' });
    expect((await send(address, '/api/look', bearer(VIEWER))).status).toBe(200);
    const change = await send(address, '/api/change', bearer(VIEWER));
    expect([change.status, JSON.parse(change.text).reason]).toEqual([403, 'permission_denied']);
  });

  it('with the role admin changes something only where changes are switched on', async () => {
    const off = await send(await withTokens(), '/api/change', bearer(ADMIN));
    expect([off.status, JSON.parse(off.text).message]).toEqual([
      403,
      expect.stringContaining('CKV_CONSOLE_WRITES=true'),
    ]);
    await server?.drain(0);
    const on = await send(await withTokens({ CKV_CONSOLE_WRITES: 'true' }), '/api/change', bearer(ADMIN));
    expect([on.status, JSON.parse(on.text)]).toEqual([200, { token: ADMIN }]);
  });
});

describe('another site', () => {
  it.each([
    ['whose script asks', { 'sec-fetch-site': 'cross-site' }, 403],
    ['of the same domain', { 'sec-fetch-site': 'same-site' }, 403],
    ['by its origin', { origin: 'http://evil.example' }, 403],
    ['with a form', { 'content-type': 'text/plain' }, 400],
    ['whose name leads here', { host: 'evil.example' }, 403],
  ])('%s gets nothing', async (_, headers, status) => {
    expect((await send(await start(), '/api/look', { headers: headers as Record<string, string> })).status).toBe(
      status,
    );
  });

  it('whose name leads here does not even get the page, where no token is asked for', async () => {
    const headers = { host: 'evil.example:80' };
    expect((await send(await start(), '/', { method: 'GET', headers })).status).toBe(403);
  });

  it.each(['localhost', '127.0.0.1:50055', '[::1]:1'])('%s is this machine', async (host) => {
    const headers = { host, origin: `http://${host}`, 'sec-fetch-site': 'same-origin' };
    expect((await send(await start(), '/api/look', { headers })).status).toBe(200);
  });
});

describe('a request', () => {
  it('that is too long is refused', async () => {
    const { status, text } = await send(await start(), '/api/look', { body: JSON.stringify('x'.repeat(70_000)) });
    expect([status, JSON.parse(text).message]).toEqual([400, expect.stringContaining('more than 65536 bytes')]);
  });

  it.each(['', '{', 'null,'])('%j is not JSON', async (body) => {
    const { status, text } = await send(await start(), '/api/look', { body });
    expect([status, JSON.parse(text).reason]).toEqual([400, 'invalid_request']);
  });

  it('is refused while too many others are worked on, and let in when they have gone', async () => {
    const address = await start();
    const open = Array.from({ length: 32 }, () => openSlow(address));
    await expect.poll(async () => (await send(address, '/api/look')).status, { timeout: 30_000 }).toBe(503);
    const refused = await send(address, '/api/look');
    expect([JSON.parse(refused.text).reason, refused.headers['retry-after']]).toEqual(['overloaded', '1']);
    for (const socket of open) socket.destroy();
    await expect.poll(async () => (await send(address, '/api/look')).status, { timeout: 30_000 }).toBe(200);
  });

  it('that fails says why to its caller, and to nobody else', async () => {
    const address = await start();
    const wrong = await send(address, '/api/wrong', { body: JSON.stringify({ userId: USER }) });
    expect([wrong.status, JSON.parse(wrong.text).message]).toEqual([400, expect.stringContaining(USER)]);
    const broken = await send(address, '/api/broken');
    expect([broken.status, JSON.parse(broken.text)]).toEqual([
      500,
      { reason: 'bug', message: 'internal error; the service log has its cause' },
    ]);
    await send(address, `/${USER}`);
    await send(address, `/api/${USER}`);
    const withoutDefects = lines.filter((line) => !JSON.stringify(line).includes('request failed'));
    expect(JSON.stringify(withoutDefects)).not.toContain(USER);
  });
});

/** Sends a request that stays open. */
function openSlow(address: string) {
  const [host = '', port] = address.split(':');
  const socket = connect(Number(port), host);
  socket.on('error', () => undefined);
  socket.write(
    `POST /api/slow HTTP/1.1\r\nhost: ${address}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`,
  );
  return socket;
}

describe('beyond loopback', () => {
  it('refuses to listen without tokens, and warns of tokens in plain text', async () => {
    await expect(start({ CKV_BIND: '0.0.0.0:0' })).rejects.toThrow(/CKV_BIND: 0\.0\.0\.0:0 is beyond loopback/);
    await withTokens({ CKV_BIND: '0.0.0.0:0' });
    expect(JSON.stringify(lines)).toContain('CKV_TLS_CERT_FILE');
  });

  it('speaks TLS alone with a certificate, and tells browsers to come back by TLS', async () => {
    const authority = await createCertificateAuthority();
    const pair = await authority.issue({ hosts: ['localhost'] });
    const files = { cert: join(dir, 'cert.pem'), key: join(dir, 'key.pem') };
    for (const name of ['cert', 'key'] as const) writeFileSync(files[name], pair[name]);
    const address = await withTokens({ CKV_TLS_CERT_FILE: files.cert, CKV_TLS_KEY_FILE: files.key });
    const [host, port] = address.split(':');
    const headers = await new Promise<IncomingHttpHeaders>((resolve, reject) => {
      const options = { host, port, path: '/', ca: authority.cert, servername: 'localhost', agent: false };
      askTls(options, (response) => resolve(response.resume().headers))
        .on('error', reject)
        .end();
    });
    expect(headers['strict-transport-security']).toContain('max-age=');
    await expect(send(address, '/', { method: 'GET' })).rejects.toThrow();
  });
});

it('a port that is taken is an error', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  const { port } = other.address() as { port: number };
  await expect(start({ CKV_BIND: `127.0.0.1:${port}` })).rejects.toThrow(/EADDRINUSE/);
  other.close();
});
