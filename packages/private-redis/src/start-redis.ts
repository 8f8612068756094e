import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { type AddressInfo, connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type FindOptions, findRedis } from './find-redis.js';

/** A private redis-server on a loopback port. */
export interface PrivateRedis {
  readonly url: string;
  /** Process id of the server. */
  readonly pid: number;
  /** Resolves when the server has ended, for any reason. */
  readonly exited: Promise<void>;
  /** Ends the server by SIGKILL, like a crash. Data on disk stays. */
  kill(): Promise<void>;
  /** Shuts the server down in order. */
  stop(): Promise<void>;
}

/** Options of {@link startPrivateRedis}. */
export interface StartOptions extends FindOptions {
  /** Folder of the server's data. */
  readonly dataDir: string;
  /** Default: a free port. */
  readonly port?: number;
  /** When writes reach the disk; default `everysec`. With `always`, a kill loses no write. */
  readonly fsync?: 'everysec' | 'always' | 'no';
  /** Ends the start when it aborts. It has no effect on a server that has started. */
  readonly signal?: AbortSignal;
  /** Further arguments of redis-server. */
  readonly args?: readonly string[];
}

const GUARD = createRequire(import.meta.url).resolve('@collectivekv/private-redis/guard');
const START_TIMEOUT_MS = 15_000;
const TRIES = 3;

/**
 * Starts a redis-server that ends with this process. It has an append-only file, evicts nothing and listens on
 * loopback.
 * @throws Error with the last lines of the server's output if the server does not start
 */
export async function startPrivateRedis(options: StartOptions): Promise<PrivateRedis> {
  const server = await findRedis(options);
  await mkdir(options.dataDir, { recursive: true });
  for (let attempt = 1; ; attempt++) {
    try {
      return await launch(server, options, options.port ?? (await freePort()));
    } catch (error) {
      // Another process may have taken the free port: try again with another one.
      if (options.port !== undefined || attempt === TRIES || options.signal?.aborted) throw error;
    }
  }
}

async function launch(
  server: { path: string; env: Readonly<Record<string, string>> },
  { dataDir, fsync = 'everysec', args: furtherArgs = [], signal }: StartOptions,
  port: number,
): Promise<PrivateRedis> {
  const args = [
    ...['--bind', '127.0.0.1', '--port', String(port), '--dir', dataDir],
    ...['--appendonly', 'yes', '--appendfsync', fsync, '--save', '', '--maxmemory-policy', 'noeviction'],
    ...furtherArgs,
  ];
  const guard = spawn(process.execPath, [GUARD, server.path, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...server.env },
    detached: true, // a terminal signals only this process, which decides when the server ends
  });
  const abort = () => guard.stdin.end();
  signal?.addEventListener('abort', abort);
  if (signal?.aborted) abort();
  let output = '';
  let reportPid: (pid: number) => void = () => undefined;
  const reportedPid = new Promise<number>((resolve) => {
    reportPid = resolve;
  });
  for (const stream of [guard.stdout, guard.stderr]) {
    stream.on('data', (chunk) => {
      output = `${output}${chunk}`.slice(-4_000);
      const [, serverPid] = /^guard: pid (\d+)$/m.exec(output) ?? [];
      if (serverPid) reportPid(Number(serverPid));
    });
  }
  const exited = once(guard, 'exit').then(() => undefined);
  const pid = (await Promise.race([reportedPid, exited])) ?? 0;
  const started = await answers(port, guard);
  signal?.removeEventListener('abort', abort);
  if (!started) {
    guard.stdin.end();
    await exited;
    signal?.throwIfAborted();
    throw new Error(`redis-server did not start on port ${port}: ${output.trim().split('\n').slice(-3).join(' | ')}`);
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    pid,
    exited,
    async kill() {
      process.kill(pid, 'SIGKILL');
      await exited;
    },
    async stop() {
      guard.stdin.end();
      await exited;
    },
  };
}

/** Waits until the server answers PING with PONG. Returns false if the server ends first, or after 15 s. */
async function answers(port: number, guard: ChildProcess): Promise<boolean> {
  const deadlineMs = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadlineMs && guard.exitCode === null) {
    if (await ping(port)) return guard.exitCode === null;
    await sleep(20);
  }
  return false;
}

function ping(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 1_000 });
    const settle = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.on('connect', () => socket.write('PING\r\n'));
    socket.on('data', (bytes) => settle(bytes.toString().startsWith('+PONG')));
    socket.on('error', () => settle(false));
    socket.on('timeout', () => settle(false));
  });
}

/** Returns a loopback port that no process listens on at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
