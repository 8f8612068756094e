import { CkvError } from '@collectivekv/domain';
import { parseRedisUrl } from '@collectivekv/redis-connection';
import fc from 'fast-check';
import { damagedBytes } from '../inputs/damaged-bytes.js';
import { hostileText } from '../inputs/hostile.js';
import type { Surface } from '../surface.js';

/** A secret that no message may repeat. Damages keep a part of it. */
const SECRET = 'Zq7-hidden-Zq7';
const URLS = [
  'redis://127.0.0.1:6379/2',
  `redis://user:${SECRET}@127.0.0.1:6379/2`,
  `rediss://:${SECRET}@[::1]:6380`,
  `redis+sentinel://user:${SECRET}@a:26379,b:26379/primary/3`,
  `redis+cluster://user:${SECRET}@a:6379,b:6379,c`,
];

/** Redis URLs. A refusal must not repeat any part of the password. */
export function redisUrlsSurface(): Surface<string> {
  const part = fc.oneof(
    hostileText,
    fc.constantFrom('redis', '127.0.0.1', '6379', SECRET, 'a,b', '%zz', '65536', '-1'),
  );
  const built = fc.tuple(part, part, part, part, part).map(([a, b, c, d, e]) => `${a}://${b}:${c}@${d}/${e}`);
  return {
    name: 'Redis URLs',
    found: ['constructor://redis:redis@ſ/'],
    inputs: fc.oneof(
      damagedBytes(URLS.map((url) => Buffer.from(url))).map((bytes) => bytes.toString()),
      built,
      hostileText,
    ),
    async judge(url) {
      try {
        const { nodes, db } = parseRedisUrl(url, 'CKV_REDIS_URL');
        const bad = nodes.find(({ host, port }) => host === '' || !(port >= 1 && port <= 65_535));
        if (bad || nodes.length === 0 || !Number.isSafeInteger(db)) throw new Error('accepted an address that is none');
        return 'accepted';
      } catch (error) {
        if (!(error instanceof CkvError) || error.reason !== 'invalid_request') throw error;
        if (error.message.includes('hidden') || error.message.includes('Zq7'))
          throw new Error(`it tells the password: ${error.message}`);
        return 'refused';
      }
    },
    async stillRight() {
      const { username, password, nodes, db } = parseRedisUrl(URLS[1] ?? '', 'CKV_REDIS_URL');
      const found = JSON.stringify([username, password, nodes, db]);
      if (found !== JSON.stringify(['user', SECRET, [{ host: '127.0.0.1', port: 6379 }], 2])) throw new Error(found);
    },
  };
}
