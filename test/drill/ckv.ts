import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Stack } from '@collectivekv/dev-stack';
import type { BundleStatus } from '@collectivekv/operations';
import { ROOT } from './paths.js';

/** A command that runs. */
export interface RunningCommand {
  kill(): void;
  /** Resolves with its exit code, null after a kill, and with what it printed. */
  readonly ended: Promise<{ readonly code: number | null; readonly output: string; readonly errors: string }>;
}

/** The command line, as an operator uses it. */
export interface Ckv {
  /** Runs a command. @throws Error with its output if it fails */
  (...args: readonly string[]): Promise<string>;
  start(...args: readonly string[]): RunningCommand;
  status(): Promise<BundleStatus[]>;
  /**
   * Runs a command until it succeeds. For commands that need the coverage, which is unknown while a replica that was
   * killed has looked at few requests.
   */
  untilDone(...args: readonly string[]): Promise<void>;
}

const PATIENCE_MS = 180_000;
const POLL_MS = 250;

/** Creates the command line of a stack. */
export function ckvOf({ targets, redisUrl }: Stack): Ckv {
  const children = new Set<ChildProcess>();
  process.on('exit', () => {
    for (const child of children) child.kill('SIGKILL');
  });

  function start(...args: readonly string[]): RunningCommand {
    const child = spawn(process.execPath, [join(ROOT, 'packages/cli/bin/ckv.js'), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH ?? '',
        CKV_POOL_TARGET: targets.pool,
        CKV_USER_CACHE_TARGET: targets['user-cache'],
        CKV_QUEUE_REDIS_URL: redisUrl,
      },
    });
    children.add(child);
    let [output, errors] = ['', ''];
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.stderr.on('data', (chunk) => {
      errors = `${errors}${chunk}`.slice(-2_000);
    });
    const ended = once(child, 'close').then(([code]) => {
      children.delete(child);
      return { code: code as number | null, output, errors };
    });
    return { kill: () => child.kill('SIGKILL'), ended };
  }

  async function run(...args: readonly string[]): Promise<string> {
    const { code, output, errors } = await start(...args).ended;
    if (code !== 0) throw new Error(`ckv ${args.join(' ')} failed (exit code ${code}): ${errors.trim()}`);
    return output;
  }

  return Object.assign(run, {
    start,
    async status(): Promise<BundleStatus[]> {
      return JSON.parse(await run('--json', 'bundle', 'status'));
    },
    async untilDone(...args: readonly string[]): Promise<void> {
      const deadlineMs = performance.now() + PATIENCE_MS;
      for (;;) {
        try {
          await run(...args);
          return;
        } catch (error) {
          if (performance.now() > deadlineMs) throw error;
        }
        await sleep(POLL_MS);
      }
    },
  });
}
