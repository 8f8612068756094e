import { mkdir } from 'node:fs/promises';
import { type FindOptions, findRedis, type RedisServer } from './find-redis.js';
import { freePort } from './free-port.js';
import { launchServer, type ServerProcess } from './launch-server.js';

/** A private redis-server on a loopback port. */
export interface PrivateRedis extends ServerProcess {
  readonly url: string;
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
  /** Further environment variables of redis-server. */
  readonly env?: Readonly<Record<string, string>>;
}

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
  { path, env }: RedisServer,
  { dataDir, fsync = 'everysec', args: furtherArgs = [], env: furtherEnv, signal }: StartOptions,
  port: number,
): Promise<PrivateRedis> {
  const args = [
    ...['--bind', '127.0.0.1', '--port', String(port), '--dir', dataDir],
    ...['--appendonly', 'yes', '--appendfsync', fsync, '--save', '', '--maxmemory-policy', 'noeviction'],
    ...furtherArgs,
  ];
  const server = await launchServer({ path, env: { ...env, ...furtherEnv } }, { args, port, signal });
  return { ...server, url: `redis://127.0.0.1:${port}` };
}
