import type { AccessRules } from '@collectivekv/redis-connection';
import { queuePrefix } from './queue-names.js';

/** Commands of BullMQ's scripts that add jobs. */
const ADD = [
  ...['eval', 'evalsha', 'del', 'exists', 'get', 'incr', 'persist', 'pttl', 'set', 'hget', 'hmget', 'hmset', 'hset'],
  ...['llen', 'lpos', 'lpush', 'lrange', 'rpush', 'sadd', 'scard', 'xadd'],
  ...['zadd', 'zrange', 'zrem', 'zrevrangebyscore', 'zscore'],
];
/** More commands of the scripts that count, list, retry and drop jobs. */
const INSPECT = ['hdel', 'hgetall', 'lindex', 'lrem', 'rpop', 'smembers', 'srem', 'zcard', 'zcount', 'zrevrange'];
/** More commands of the scripts that begin, feed, show and end a backfill. */
const BACKFILL = ['hexists', 'hincrby', 'hlen', 'time', 'unlink', 'xlen', 'xrange', 'xrevrange'];
/** More commands of the scripts that consume, hold leases, keep receipts and erase. */
const CONSUME = [
  ...['bzpopmin', 'expire', 'pexpire', 'rename', 'type', 'hsetnx', 'ltrim', 'wait'],
  ...['rpoplpush', 'xdel', 'xtrim'],
  ...['zpopmin', 'zrangebyscore', 'zremrangebyrank', 'zremrangebyscore', 'zscan'],
];

/** Returns what an updater may do in the queue's Redis: add jobs, hold leases, consume, keep receipts. */
export function queueServiceAccess(keyPrefix: string): AccessRules {
  return { keys: [`${queuePrefix(keyPrefix)}:*`], commands: [...ADD, ...INSPECT, ...BACKFILL, ...CONSUME] };
}

/** Returns what `ckv queue` and `ckv backfill` may do in the queue's Redis. */
export function queueOperatorAccess(keyPrefix: string): AccessRules {
  return { keys: [`${queuePrefix(keyPrefix)}:*`], commands: [...ADD, ...INSPECT, ...BACKFILL] };
}

/**
 * Returns what a backend may do that adds jobs with a BullMQ package of its own. BullMQ for Python loads its scripts.
 */
export function queueProducerAccess(keyPrefix: string): AccessRules {
  return { keys: [`${queuePrefix(keyPrefix)}:*`], commands: [...ADD, 'script|load'] };
}
