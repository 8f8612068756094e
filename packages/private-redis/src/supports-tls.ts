import { spawnSync } from 'node:child_process';
import type { RedisServer } from './find-redis.js';

/** True if the redis-server was built with TLS. One that was compiled with default options was not. */
export function supportsTls({ path, env }: RedisServer): boolean {
  const args = ['--port', '0', '--tls-port', '1', '--tls-cert-file', '/nowhere'];
  const { stdout } = spawnSync(path, args, { env: { ...process.env, ...env }, encoding: 'utf8' });
  return /Failed to configure TLS|Failed to load certificate/.test(stdout);
}
