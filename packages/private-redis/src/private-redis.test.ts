import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findRedis, freePort, type PrivateRedis, startPrivateRedis, startTemporaryRedis } from './index.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-redis-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** Sends an inline command. Returns the first part of the reply. */
async function ask({ url }: PrivateRedis, command: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port) });
  socket.write(`${command}\r\n`);
  const [reply] = await once(socket, 'data');
  socket.destroy();
  return String(reply);
}

const isRunning = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('startPrivateRedis', () => {
  it('keeps its data over an orderly stop, and over a kill if every write is flushed', async () => {
    const options = { dir: join(dir, 'server'), dataDir: join(dir, 'redis'), fsync: 'always' } as const;
    const first = await startPrivateRedis(options);
    expect(first.url).toMatch(/^redis:\/\/127\.0\.0\.1:\d+$/);
    await ask(first, 'SET a stopped');
    await first.stop();
    const second = await startPrivateRedis(options);
    expect(await ask(second, 'GET a')).toBe('$7\r\nstopped\r\n');
    await ask(second, 'SET b killed');
    await second.kill();
    expect(isRunning(second.pid)).toBe(false);
    const third = await startPrivateRedis(options);
    expect(await ask(third, 'GET b')).toBe('$6\r\nkilled\r\n');
    await third.stop();
    await third.exited;
  });

  it('listens on the given port, on loopback only, and evicts nothing', async () => {
    const port = await freePort();
    const redis = await startPrivateRedis({ dir, dataDir: join(dir, 'redis'), port, args: ['--maxclients', '7'] });
    expect(redis.url).toBe(`redis://127.0.0.1:${port}`);
    expect(await ask(redis, 'CONFIG GET bind')).toContain('127.0.0.1');
    expect(await ask(redis, 'CONFIG GET maxmemory-policy')).toContain('noeviction');
    expect(await ask(redis, 'CONFIG GET appendfsync')).toContain('everysec');
    expect(await ask(redis, 'CONFIG GET maxclients')).toMatch(/\r\n7\r\n/);
    await redis.stop();
  });

  it('throws the last words of a server that does not start', async () => {
    const options = { dir, dataDir: join(dir, 'redis'), port: await freePort(), args: ['--no-such-option', '1'] };
    await expect(startPrivateRedis(options)).rejects.toThrow(
      /^redis-server did not start on port \d+: .*no-such-option/s,
    );
  });

  it('ends although it was stopped by SIGSTOP', async () => {
    const redis = await startPrivateRedis({ dir, dataDir: join(dir, 'redis') });
    process.kill(redis.pid, 'SIGSTOP');
    await redis.stop();
    expect(isRunning(redis.pid)).toBe(false);
  });

  it('ends with its process, even if that is killed', async () => {
    const program = `
      import { startPrivateRedis } from '@collectivekv/private-redis';
      const { pid } = await startPrivateRedis(${JSON.stringify({ dir, dataDir: join(dir, 'redis') })});
      console.log(pid);
      setInterval(() => undefined, 1_000);`;
    const owner = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      cwd: fileURLToPath(new URL('.', import.meta.url)),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [output] = await once(owner.stdout, 'data');
    const pid = Number(output);
    expect(isRunning(pid)).toBe(true);
    owner.kill('SIGKILL');
    await vi.waitUntil(() => !isRunning(pid), { timeout: 20_000 });
  });
});

describe('startTemporaryRedis', () => {
  beforeEach(() => void vi.stubEnv('TMPDIR', dir));
  afterEach(() => void vi.unstubAllEnvs());

  it('keeps its files in a temporary folder, which stop removes', async () => {
    const redis = await startTemporaryRedis();
    expect(await readdir(dir)).toHaveLength(1);
    await redis.stop();
    expect(await readdir(dir)).toEqual([]);
  });

  it('leaves no folder behind if the server does not start', async () => {
    await expect(startTemporaryRedis({ args: ['--no-such-option', '1'] })).rejects.toThrow('no-such-option');
    expect(await readdir(dir)).toEqual([]);
  });
});

describe('findRedis', () => {
  it('finds a server that was unpacked before, with the folders of its libraries', async () => {
    const root = join(dir, 'root');
    await mkdir(join(root, 'usr', 'bin'), { recursive: true });
    await mkdir(join(root, 'usr', 'lib', 'x86_64-linux-gnu'), { recursive: true });
    await writeFile(join(root, 'usr', 'bin', 'redis-server'), '#!/bin/sh\n');
    await chmod(join(root, 'usr', 'bin', 'redis-server'), 0o755);
    expect(await findRedis({ dir, searchPath: join(dir, 'empty') })).toEqual({
      path: join(root, 'usr', 'bin', 'redis-server'),
      env: {
        LD_LIBRARY_PATH: [
          join(root, 'usr', 'lib', 'x86_64-linux-gnu'),
          join(root, 'usr', 'lib'),
          join(root, 'lib'),
        ].join(':'),
      },
    });
  });

  it('does not take a half-made folder, whose server does not run', async () => {
    const bin = join(dir, 'root', 'usr', 'bin');
    await mkdir(bin, { recursive: true });
    await writeFile(join(bin, 'redis-server'), '#!/bin/sh\nexit 127\n');
    await chmod(join(bin, 'redis-server'), 0o755);
    const path = process.env.PATH;
    process.env.PATH = join(dir, 'empty'); // nothing fetches another one
    try {
      await expect(findRedis({ dir })).rejects.toThrow(/^there is no redis-server/);
    } finally {
      process.env.PATH = path;
    }
  });

  it('says in one line what to install if there is no server and no package manager', async () => {
    const path = process.env.PATH;
    process.env.PATH = dir;
    const progress: string[] = [];
    try {
      const found = findRedis({ dir: join(dir, 'server'), onProgress: (message) => progress.push(message) });
      await expect(found).rejects.toThrow(
        /^there is no redis-server, and none could be fetched; install Redis [^\n]*$/,
      );
      expect(progress).toEqual(['no redis-server on the PATH: fetching one']);
    } finally {
      process.env.PATH = path;
    }
  });
});
