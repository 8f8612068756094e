// `npm start` is ended at every phase and in every way. Nothing that it started outlives it.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const WITHIN_MS = 60_000;

/** Set in the environment of everything that the test starts. */
let mark: string;
let npm: ChildProcess;
let output: string;

/** Processes with the mark, by id. */
function marked(): Map<number, string> {
  const found = new Map<number, string>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(join('/proc', pid, 'environ'), 'utf8').includes(mark)) continue;
      const commandLine = readFileSync(join('/proc', pid, 'cmdline'), 'utf8').replaceAll('\0', ' ');
      if (commandLine !== '') found.set(Number(pid), commandLine);
    } catch {
      // the process has ended, or is another user's
    }
  }
  return found;
}

/** Starts `npm start` as the leader of a process group, as a shell does. */
function start(): void {
  mark = `STARTER_MARK=${randomUUID()}`;
  output = '';
  const env = { ...process.env, STARTER_MARK: mark.split('=')[1] };
  npm = spawn('npm', ['start', '--', '--users', '5', '--positions', '50'], { cwd: root, env, detached: true });
  for (const stream of [npm.stdout, npm.stderr]) stream?.on('data', (chunk) => (output += chunk));
}

/** The process whose command line has the text. */
const processOf = (text: string) => [...marked()].find(([, command]) => command.includes(text))?.[0] ?? Number.NaN;

afterEach(() => {
  for (const pid of marked().keys()) process.kill(pid, 'SIGKILL');
});

describe.skipIf(process.platform !== 'linux')('npm start', () => {
  describe.each([
    ['while it builds', 'building'],
    ['when Redis has started', 'Redis on '],
    ['while it serves', 'The system keeps running'],
  ])('%s', (_, phase) => {
    it.each<[string, () => unknown]>([
      ['Ctrl-C', () => process.kill(-(npm.pid ?? Number.NaN), 'SIGINT')],
      ['the end of its terminal', () => process.kill(-(npm.pid ?? Number.NaN), 'SIGHUP')],
      ['SIGTERM to npm alone', () => npm.kill('SIGTERM')],
      ['kill -9 of npm', () => npm.kill('SIGKILL')],
      ['kill -9 of the script', () => process.kill(processOf('scripts/start.mjs'), 'SIGKILL')],
    ])(
      'leaves nothing behind after %s',
      async (_, end) => {
        start();
        const exited = once(npm, 'exit');
        await vi.waitUntil(() => output.includes(phase), { timeout: WITHIN_MS });
        end();
        await exited;
        await vi.waitUntil(() => marked().size === 0, { timeout: WITHIN_MS, interval: 20 });
        expect(output).not.toContain('start failed');
      },
      120_000,
    );
  });
});
