import { invalidRequest } from '@collectivekv/domain';
import { readVariable } from './environment.js';

/** Where the queue of a system is. */
export interface QueueRedis {
  readonly url: string;
  readonly keyPrefix: string;
}

/** What was typed, or is in variables of the options, about the system to reach. */
interface Given {
  readonly queueRedis?: string;
  readonly keyPrefix?: string;
  readonly ranking?: string;
  readonly updater?: string;
  readonly pool?: string;
  readonly userCache?: string;
}

/** What `npm start` says about the system that it runs. */
interface StartedSystem {
  readonly redisUrl?: string;
  readonly keyPrefix?: string;
  readonly targets?: Readonly<Record<string, string>>;
}

const DEFAULT_KEY_PREFIX = 'ckv';
const REMEDY = 'name the Redis of the queue, or set CKV_QUEUE_REDIS_URL or CKV_QUEUE_REDIS_URL_FILE';

/**
 * Returns the Redis that was named, else that of `npm start`. There is no default: in a wrong Redis, an unfinished
 * backfill looks like none. So what `npm start` says does not count beside services of another system. Nor does
 * CKV_REDIS_URL, which may name the Redis of the records.
 * @throws invalid_request if no Redis is named
 */
export function queueRedisOf(given: Given, env: NodeJS.ProcessEnv, started: StartedSystem): QueueRedis {
  const keyPrefix = given.keyPrefix ?? readVariable(env, 'CKV_KEY_PREFIX');
  const url = given.queueRedis ?? readVariable(env, 'CKV_QUEUE_REDIS_URL');
  if (url !== undefined) {
    const known = url === started.redisUrl ? started.keyPrefix : undefined;
    return { url, keyPrefix: keyPrefix ?? known ?? DEFAULT_KEY_PREFIX };
  }
  if (started.redisUrl === undefined) {
    throw invalidRequest('--queue-redis', 'is required, since no "npm start" runs here', REMEDY);
  }
  const { ranking, updater, pool, userCache } = given;
  const services = Object.entries({ ranking, updater, pool, 'user-cache': userCache });
  const other = services.find(([name, target]) => target !== undefined && target !== started.targets?.[name]);
  if (other) {
    const problem = `is required, since ${other[0]} at ${other[1]} is not of the system that "npm start" runs`;
    throw invalidRequest('--queue-redis', problem, REMEDY);
  }
  return { url: started.redisUrl, keyPrefix: keyPrefix ?? started.keyPrefix ?? DEFAULT_KEY_PREFIX };
}
