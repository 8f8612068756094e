import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { CkvError, REASONS, type Reason, toCkvError } from '@collectivekv/domain';
import { type CallerAccess, createCallerAccess } from '@collectivekv/rpc/server';
import {
  asksForTokens,
  isLoopback,
  OPTION_NAMES,
  ownToken,
  requireGuardedBind,
  type ServerParts,
  type ServiceServer,
  splitBind,
  watchCertificateEnd,
} from '@collectivekv/service-kit';
import type { ConsoleConfig } from '../config.js';
import type { ProblemView } from '../views.js';
import { SECURITY_HEADERS, TRANSPORT_HEADERS } from './headers.js';
import type { PageFile } from './page-files.js';
import { readJson, requireLoopbackHost, requireOwnPage } from './requests.js';
import { followPageTls, secureContextOf } from './tls.js';

/** What the page asks for. */
export interface Caller {
  /** The token that the browser sent; '' if none. */
  readonly token: string;
  /** Aborts when the browser has gone, or the time of the request is over. */
  readonly signal: AbortSignal;
  /** The end of the request's time, in the clock of `steadyNowMs`. */
  readonly timeoutMs: number;
}

/** Answers one kind of request. */
export interface Route {
  /** True if it changes something: it needs the role admin, and CKV_CONSOLE_WRITES. */
  readonly changes?: boolean;
  /** Longest time of a request, ms. Default 15,000. */
  readonly timeoutMs?: number;
  answer(request: unknown, caller: Caller): object | Promise<object>;
}

/** The routes by their names: `/api/NAME`. */
export type Routes = Readonly<Record<string, Route>>;

/** A server of the page and its requests. */
export interface PageServer extends ServiceServer {
  /** Sets what is served. Before it, every request is refused. */
  serve(files: ReadonlyMap<string, PageFile>, routes: Routes): void;
}

/** Most requests that are worked on at once. */
const MAX_REQUESTS = 32;
const MAX_CONNECTIONS = 512;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 15_000;

/** HTTP status of each gRPC status. */
const HTTP_STATUS: Readonly<Record<string, number>> = {
  INVALID_ARGUMENT: 400,
  NOT_FOUND: 404,
  FAILED_PRECONDITION: 409,
  ABORTED: 409,
  DATA_LOSS: 500,
  RESOURCE_EXHAUSTED: 503,
  UNAVAILABLE: 503,
  DEADLINE_EXCEEDED: 504,
  CANCELLED: 499,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  INTERNAL: 500,
};

/**
 * Creates the console's server: HTTP, or HTTPS with a certificate. It warns if tokens come in plain text.
 * @throws ConfigError if the address is beyond loopback, and neither tokens nor client certificates guard it
 * @throws invalid_request if a file of certificates, of a key or of tokens cannot be used
 */
export function createPageServer(config: ConsoleConfig, parts: ServerParts): PageServer {
  const { log, metrics, onFileOutcome } = parts;
  requireGuardedBind(config, log);
  const tls = followPageTls(config, onFileOutcome);
  const access = createCallerAccess(
    { ...ownToken(config), tokensFile: config.CKV_TOKENS_FILE, optionNames: OPTION_NAMES, onFileOutcome },
    log,
  );
  const headers = tls ? { ...SECURITY_HEADERS, ...TRANSPORT_HEADERS } : SECURITY_HEADERS;
  const onlyLoopback = !asksForTokens(config) && isLoopback(config.CKV_BIND);
  const maxAgeMs = config.CKV_MAX_CONNECTION_AGE_S * 1_000;
  const begun = new WeakMap<object, number>();
  let files: ReadonlyMap<string, PageFile> = new Map();
  let routes: Routes = {};
  let started = 0;
  let draining = false;

  const server = createHttpServer((request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    const ageMs = performance.now() - (begun.get(request.socket) ?? 0);
    if (draining || (maxAgeMs > 0 && ageMs > maxAgeMs)) response.setHeader('connection', 'close');
    void respond(request, response);
  });
  server.on('connection', (socket) => begun.set(socket, performance.now()));
  server.maxConnections = MAX_CONNECTIONS;
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  watchCertificateEnd(metrics, () => tls?.current.identity?.notAfterMs ?? 0);

  function createHttpServer(listener: (request: IncomingMessage, response: ServerResponse) => void): Server {
    if (!tls) return createServer(listener);
    const clients = { requestCert: config.CKV_TLS_CLIENT_CA_FILE !== '', rejectUnauthorized: true };
    const secure = createTlsServer({ ...secureContextOf(tls.current), ...clients, minVersion: 'TLSv1.2' }, listener);
    tls.onChange(() => secure.setSecureContext({ ...secureContextOf(tls.current), minVersion: 'TLSv1.2' }));
    return secure as unknown as Server;
  }

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    const name = /^\/api\/([\w/-]+)$/.exec(url)?.[1];
    if (name !== undefined) return answer(name, request, response);
    try {
      if (onlyLoopback) requireLoopbackHost(request);
      const file = files.get(url);
      if (!file || (method !== 'GET' && method !== 'HEAD')) throw notFound();
      response.writeHead(200, { ...file.headers, 'content-length': file.bytes.length });
      response.end(method === 'HEAD' ? undefined : file.bytes);
    } catch (thrown) {
      send(response, toCkvError(thrown));
    }
  }

  /** Answers a request of the page. No answer is kept by a browser. */
  async function answer(name: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const startedMs = performance.now();
    const route = Object.hasOwn(routes, name) ? routes[name] : undefined;
    const rpc = `Console/${route ? name : 'unknown'}`;
    response.setHeader('cache-control', 'no-store');
    let failure: CkvError | undefined;
    try {
      const sent = await answerOf(name, route, request, response);
      send(response, sent);
    } catch (thrown) {
      failure = toCkvError(thrown);
      send(response, failure);
    }
    const tookMs = performance.now() - startedMs;
    const code = failure ? REASONS[failure.reason].statusName : 'OK';
    metrics.rpcSeconds.observe({ rpc, code }, tookMs / 1_000);
    if (failure?.reason === 'bug') log.error({ rpc, code, tookMs, err: failure.cause ?? failure }, 'request failed');
    else log.debug({ rpc, code, tookMs, reason: failure?.reason }, 'request');
  }

  async function answerOf(
    name: string,
    route: Route | undefined,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<object> {
    if (onlyLoopback) requireLoopbackHost(request);
    if (request.method !== 'POST' || !route) throw notFound();
    requireOwnPage(request);
    requireAccess(access, request, route);
    if (route.changes && !config.CKV_CONSOLE_WRITES) {
      throw new CkvError(
        'permission_denied',
        `${name}: changes are switched off; set CKV_CONSOLE_WRITES=true, or use ckv`,
      );
    }
    if (draining) throw new CkvError('draining', 'the console is shutting down; try again');
    if (started >= MAX_REQUESTS) {
      throw new CkvError('overloaded', `the console works on ${started} requests; try again`, { retryAfterMs: 1_000 });
    }
    started++;
    const timeoutMs = route.timeoutMs ?? REQUEST_TIMEOUT_MS;
    const gone = new AbortController();
    const leave = () => gone.abort(new CkvError('cancelled', 'the browser has gone'));
    response.once('close', leave);
    try {
      const signal = AbortSignal.any([gone.signal, AbortSignal.timeout(timeoutMs)]);
      return await route.answer(await readJson(request), { token: tokenOf(request), signal, timeoutMs });
    } finally {
      started--;
      response.off('close', leave);
    }
  }

  return {
    serve(newFiles, newRoutes) {
      files = newFiles;
      routes = newRoutes;
    },
    async start() {
      const { host, port } = splitBind(config.CKV_BIND);
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, host, resolve);
      });
      return { address: `${host.includes(':') ? `[${host}]` : host}:${(server.address() as AddressInfo).port}` };
    },
    setServing: () => undefined, // /readyz says it
    async drain(graceMs) {
      draining = true;
      tls?.close();
      access.close();
      const closed = new Promise<void>((resolve) => {
        if (!server.listening) resolve();
        else server.close(() => resolve());
      });
      server.closeIdleConnections();
      const timer = setTimeout(() => server.closeAllConnections(), graceMs);
      await closed;
      clearTimeout(timer);
    },
  };
}

/** @throws unauthenticated or permission_denied, in words for whoever sits at the page */
function requireAccess(access: CallerAccess, { headers }: IncomingMessage, { changes = false }: Route): void {
  const sent = { get: () => [headers.authorization ?? ''] };
  const refused = access.refusal(changes ? 'Console/Change' : 'Console/View', sent);
  if (!refused) return;
  const role = changes ? 'admin' : 'read or admin';
  if (refused.reason === 'unauthenticated') {
    const text = `token: is missing or wrong; type one with the role ${role} that CKV_TOKENS_FILE of the console lists`;
    throw new CkvError('unauthenticated', text, { field: 'token' });
  }
  throw new CkvError('permission_denied', `token: lacks the role ${role}; type another one`, { field: 'token' });
}

function tokenOf({ headers }: IncomingMessage): string {
  return /^bearer (.*)$/i.exec(headers.authorization ?? '')?.[1] ?? '';
}

function notFound(): CkvError {
  return new CkvError('invalid_request', 'there is no such page; open /');
}

function send(response: ServerResponse, answer: object): void {
  if (response.headersSent || response.destroyed) return;
  const failed = answer instanceof CkvError;
  const problem: ProblemView | undefined = failed ? { reason: answer.reason, message: answer.message } : undefined;
  const body = Buffer.from(JSON.stringify(problem ?? answer));
  if (failed) {
    response.statusCode = statusOf(answer.reason);
    if (answer.retryAfterMs !== undefined) response.setHeader('retry-after', Math.ceil(answer.retryAfterMs / 1_000));
    response.setHeader('connection', 'close'); // the body may not have been read
  }
  response.setHeader('cache-control', 'no-store');
  response.setHeader('content-type', 'application/json; charset=utf-8');
  response.setHeader('content-length', body.length);
  response.end(body);
}

function statusOf(reason: Reason): number {
  return HTTP_STATUS[REASONS[reason].statusName] ?? 500;
}
