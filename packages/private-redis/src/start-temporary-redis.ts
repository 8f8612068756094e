import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type PrivateRedis, type StartOptions, startPrivateRedis } from './start-redis.js';

/**
 * Starts a redis-server with a temporary folder of its own. `stop` also removes the folder; `kill` leaves it.
 * @throws Error with the last lines of the server's output if the server does not start
 */
export async function startTemporaryRedis(options: Pick<StartOptions, 'args' | 'fsync'> = {}): Promise<PrivateRedis> {
  const dir = await mkdtemp(join(tmpdir(), 'ckv-redis-'));
  const remove = () => rm(dir, { recursive: true, force: true });
  try {
    const redis = await startPrivateRedis({ ...options, dir: join(dir, 'server'), dataDir: join(dir, 'redis') });
    return { ...redis, stop: () => redis.stop().finally(remove) };
  } catch (error) {
    await remove();
    throw error;
  }
}
