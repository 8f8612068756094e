import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '@collectivekv/private-redis';

/** Names of the four services. */
export const SERVICE_NAMES = ['pool', 'user-cache', 'ranking', 'updater'] as const;
/** Name of one of the four services. */
export type ServiceProcessName = (typeof SERVICE_NAMES)[number];
/** Name of a service, or of the console. */
export type ProcessName = ServiceProcessName | 'console';

/** A service in a child process. It ends with this process. */
export interface ServiceProcess {
  readonly name: ProcessName;
  /** host:port of its server. A restart keeps it. */
  readonly address: string;
  /** host:port of its metrics and probes. A restart changes it. */
  readonly metricsAddress: string;
  readonly pid: number;
  /** Resolves with the exit code, or null after a signal. A restart replaces this promise. */
  readonly exited: Promise<number | null>;
  /** Resolves when /readyz answers that the service is ready. */
  untilReady(timeoutMs?: number): Promise<void>;
  /** Sends a signal, SIGKILL by default, and waits until the process has ended. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts the service again on the same address. It must have ended. */
  restart(): Promise<void>;
  /** Stops the service gracefully. */
  stop(): Promise<void>;
}

/** Options of {@link startServiceProcess}. */
export interface ServiceProcessOptions {
  readonly name: ProcessName;
  readonly env: Readonly<Record<string, string>>;
  /** File to which the log is appended. */
  readonly logFile: string;
  /** Kills the service if it aborts before the service has started. It has no effect afterwards. */
  readonly signal?: AbortSignal | undefined;
}

const START_TIMEOUT_MS = 60_000;
const TRIES = 3;

/** As in the images: glibc raises these limits by itself, and then keeps the freed memory of old bundles. */
const MALLOC_LIMITS = { MALLOC_MMAP_THRESHOLD_: '1048576', MALLOC_TRIM_THRESHOLD_: '1048576' };

interface Running {
  readonly child: ChildProcess;
  readonly address: string;
  readonly metricsAddress: string;
  readonly exited: Promise<number | null>;
}

/**
 * Starts a service. Resolves when its servers listen. Port 0 of `CKV_BIND` stands for a {@link freePort}.
 * @throws Error with the end of its log if the service ends first or takes longer than 60 s; the reason of `signal`
 */
export async function startServiceProcess({
  name,
  env,
  logFile,
  signal,
}: ServiceProcessOptions): Promise<ServiceProcess> {
  await mkdir(dirname(logFile), { recursive: true });
  const main = createRequire(import.meta.url).resolve(`@collectivekv/${name}/main`);
  signal?.throwIfAborted();
  let running = await start(env.CKV_BIND);

  async function start(bind = ''): Promise<Running> {
    if (!bind.endsWith(':0')) return launch(env);
    for (let attempt = 1; ; attempt++) {
      try {
        return await launch({ ...env, CKV_BIND: bind.replace(/0$/, String(await freePort())) });
      } catch (error) {
        // Another process may have taken the free port: try again with another one.
        if (attempt === TRIES || !String(error).includes('EADDRINUSE')) throw error;
      }
    }
  }

  async function launch(variables: Readonly<Record<string, string>>): Promise<Running> {
    const child = spawn(process.execPath, [main], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...MALLOC_LIMITS, ...inheritedEnv(), CKV_STOP_WITH_STDIN: 'true', ...variables },
      detached: true, // a terminal signals only this process, which decides when the service ends
    });
    const abort = () => child.kill('SIGKILL');
    signal?.addEventListener('abort', abort);
    if (signal?.aborted) abort();
    const exited = once(child, 'exit').then(([code]) => code as number | null);
    child.stdin.on('error', () => undefined); // the child has ended
    const log = createWriteStream(logFile, { flags: 'a' });
    let logEnd = '';
    child.stderr.on('data', (chunk) => {
      log.write(chunk);
      logEnd = `${logEnd}${chunk}`.slice(-2_000);
    });
    child.on('close', () => log.end()); // after its last output, which may come later than its exit
    const line = await Promise.race([
      once(createInterface({ input: child.stdout }), 'line').then(([text]) => String(text)),
      exited.then(() => undefined),
      sleep(START_TIMEOUT_MS, undefined, { ref: false }),
    ]);
    signal?.removeEventListener('abort', abort);
    if (line === undefined) {
      child.kill('SIGKILL');
      signal?.throwIfAborted();
      throw new Error(`${name} did not start; its log is ${logFile}:\n${logEnd.trim()}`);
    }
    const { address, metricsAddress } = JSON.parse(line) as { address: string; metricsAddress: string };
    return { child, address, metricsAddress, exited };
  }

  return {
    name,
    get address() {
      return running.address;
    },
    get metricsAddress() {
      return running.metricsAddress;
    },
    get pid() {
      return running.child.pid ?? 0;
    },
    get exited() {
      return running.exited;
    },
    async untilReady(timeoutMs = 60_000) {
      const deadlineMs = Date.now() + timeoutMs;
      while (Date.now() < deadlineMs) {
        const ready = await fetch(`http://${running.metricsAddress}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        );
        if (ready) return;
        if (running.child.exitCode !== null || running.child.signalCode !== null) break;
        await sleep(25);
      }
      throw new Error(`${name} is not ready; its log is ${logFile}`);
    },
    async kill(signal = 'SIGKILL') {
      running.child.kill(signal);
      await running.exited;
    },
    async restart() {
      running = await launch({ ...env, CKV_BIND: running.address });
    },
    async stop() {
      running.child.stdin?.end();
      await running.exited;
    },
  };
}

/** Returns this process's environment without the variables of the services. */
function inheritedEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('CKV_')));
}
