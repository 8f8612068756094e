import { primariesOf, type RedisClient } from '@collectivekv/redis-connection';

/** Returns the time by Redis's own clock, Unix ms; on a cluster by the clock of its first node. */
export async function redisNowMs(client: RedisClient): Promise<number> {
  const [primary] = primariesOf(client);
  if (!primary) throw new Error('no node');
  const [seconds, microseconds] = await primary.time();
  return Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000);
}
