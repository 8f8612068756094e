import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { askRedis } from './ask-redis.js';
import type { RedisServer } from './find-redis.js';
import { createGuardOutput } from './guard-output.js';

/** A redis-server process on a loopback port. */
export interface ServerProcess {
  readonly port: number;
  /** Process id of the server. */
  readonly pid: number;
  /** Resolves when the server has ended, for any reason. */
  readonly exited: Promise<void>;
  /** Ends the server by SIGKILL, like a crash. Data on disk stays. */
  kill(): Promise<void>;
  /** Shuts the server down in order. */
  stop(): Promise<void>;
}

/** Options of {@link launchServer}. */
export interface LaunchOptions {
  readonly args: readonly string[];
  /** Port that the arguments make the server listen on. */
  readonly port: number;
  /** Ends the start when it aborts. It has no effect on a server that has started. */
  readonly signal?: AbortSignal | undefined;
}

const GUARD = createRequire(import.meta.url).resolve('@collectivekv/private-redis/guard');
const START_TIMEOUT_MS = 15_000;

/**
 * Starts a redis-server that ends with this process. Resolves when it answers.
 * @throws Error with the last lines of the server's output if the server does not start
 */
export async function launchServer(server: RedisServer, { args, port, signal }: LaunchOptions): Promise<ServerProcess> {
  const guard = spawn(process.execPath, [GUARD, server.path, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...server.env },
    detached: true, // a terminal signals only this process, which decides when the server ends
  });
  const abort = () => guard.stdin.end();
  signal?.addEventListener('abort', abort);
  if (signal?.aborted) abort();
  const output = createGuardOutput();
  for (const stream of [guard.stdout, guard.stderr]) stream.on('data', output.add);
  const exited = once(guard, 'exit').then(() => undefined);
  const pid = (await Promise.race([output.serverPid, exited])) ?? 0;
  const started = await answers(port, guard);
  signal?.removeEventListener('abort', abort);
  if (!started) {
    guard.stdin.end();
    await exited;
    signal?.throwIfAborted();
    throw new Error(
      `redis-server did not start on port ${port}: ${output.end.trim().split('\n').slice(-3).join(' | ')}`,
    );
  }
  return {
    port,
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
  const deadlineMs = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadlineMs && guard.exitCode === null) {
    const answer = await askRedis(port, 'PING').catch(() => '');
    if (answer.startsWith('+PONG')) return guard.exitCode === null;
    await sleep(20);
  }
  return false;
}
