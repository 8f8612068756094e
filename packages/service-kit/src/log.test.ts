import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { afterEach, describe, expect, it } from 'vitest';

const KIT = createRequire(import.meta.url).resolve('@collectivekv/service-kit');
/** Prints that it is up. On input it logs some lines and exits. */
const LOGGING = `
  import { createLogger } from ${JSON.stringify(KIT)};
  const log = createLogger('test', 'info');
  process.stdin.once('data', () => {
    const userId = 'ada-1815';
    const fields = { userId, request: { user_ids: [userId] }, token: 'x' };
    for (const line of ['first', 'second', 'last']) log.info(fields, line);
    const failure = Object.assign(new Error('refused'), { command: { name: 'get', args: ['ckv:{' + userId + '}:0'] }, userId });
    log.error({ err: failure }, 'failed');
    log.error({ list: [failure], inner: { cause: failure } }, 'failed below');
    log.error(failure);
    process.exit(7);
  });
  process.stdout.write('up');
`;

let child: ChildProcess | undefined;
afterEach(() => child?.kill('SIGKILL'));

function start(stderr: 'pipe' | number): ChildProcess {
  child = spawn(process.execPath, ['--input-type=module', '-e', LOGGING], { stdio: ['pipe', 'pipe', stderr] });
  return child;
}

async function exitCode(process: ChildProcess): Promise<unknown> {
  process.stdin?.end('go');
  return (await once(process, 'exit'))[0];
}

describe('createLogger', () => {
  it('has written every line when the process exits, without secrets and user ids', async () => {
    const process = start('pipe');
    let text = '';
    process.stderr?.on('data', (chunk) => {
      text += chunk;
    });
    const read = once(process.stderr as NodeJS.ReadableStream, 'end');
    expect(await exitCode(process)).toBe(7);
    await read;
    const lines = text.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toMatchObject(
      ['first', 'second', 'last', 'failed', 'failed below', 'refused'].map((msg) => ({ msg })),
    );
    expect(lines[0]).toContain('"token":"[redacted]"');
    const error = { type: 'Error', message: 'refused', stack: expect.stringContaining('Error: refused') };
    expect(JSON.parse(lines[3] ?? '')).toMatchObject({ err: error });
    expect(JSON.parse(lines[4] ?? '')).toMatchObject({ list: [error], inner: { cause: error } });
    expect(JSON.parse(lines[5] ?? '')).toMatchObject({ err: error });
    expect(text).not.toContain('ada-1815');
  });

  it('lets the process exit though the reader of stderr is gone', async () => {
    const process = start('pipe');
    await once(process.stdout as NodeJS.ReadableStream, 'data');
    process.stderr?.destroy();
    expect(await exitCode(process)).toBe(7);
  });

  it.runIf(existsSync('/dev/full'))('goes on though the disk behind stderr is full', async () => {
    const full = openSync('/dev/full', 'w');
    const process = start(full);
    closeSync(full);
    expect(await exitCode(process)).toBe(7);
  });
});
