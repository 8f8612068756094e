// Starts a service from a folder of deploy/docker/build-tree.mjs as its container does. Another user runs it, who may
// write nothing in the folder.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { runProgram } from './tools.js';

/** A user who owns nothing. Only root may become another user. */
export const STRANGER = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

/** A service of a tree. */
export interface TreeService {
  readonly address: string;
  readonly metricsAddress: string;
  readonly child: ChildProcess;
  /** Resolves with the exit code. */
  readonly exited: Promise<number | null>;
  /** Returns the end of what it wrote to stderr. */
  log(): string;
  /** Returns the status of /readyz or /livez; 0 if nobody answers. */
  probe(path: '/readyz' | '/livez'): Promise<number>;
  /** Runs the container's health check. Returns its exit code. */
  checkHealth(): Promise<number>;
}

/** Starts a service. Resolves when it listens; rejects with its log if it ends first. */
export async function startTreeService(
  tree: string,
  service: string,
  env: Readonly<Record<string, string>>,
  user: { uid?: number; gid?: number } = STRANGER,
): Promise<TreeService> {
  const variables = { NODE_ENV: 'production', CKV_BIND: '127.0.0.1:0', CKV_METRICS_BIND: '127.0.0.1:0', ...env };
  const options = { cwd: tree, env: variables, ...user };
  const child = spawn(process.execPath, [join('services', service, 'dist/main.js')], {
    ...options,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (chunk) => {
    log = `${log}${chunk}`.slice(-64_000);
  });
  const exited = once(child, 'exit').then(([code]) => code as number | null);
  const line = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), exited]);
  if (!Array.isArray(line)) throw new Error(`${service} ended:\n${log}`);
  const { address, metricsAddress } = JSON.parse(String(line[0])) as { address: string; metricsAddress: string };
  return {
    address,
    metricsAddress,
    child,
    exited,
    log: () => log,
    probe: (path) =>
      fetch(`http://${metricsAddress}${path}`).then(
        ({ status }) => status,
        () => 0,
      ),
    checkHealth: () =>
      runProgram(process.execPath, [join(tree, 'healthcheck.mjs')], {
        ...options,
        env: { CKV_METRICS_BIND: metricsAddress },
      }).then(
        () => 0,
        ({ code }) => code as number,
      ),
  };
}
