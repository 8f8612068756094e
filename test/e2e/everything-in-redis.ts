import { createHash } from 'node:crypto';
import { eventHash } from '@collectivekv/domain';
import type { RedisClient } from '@collectivekv/redis-connection';

/** A place in Redis that has something of a user. */
export interface Trace {
  readonly key: string;
  /** What was found there: the user, an event, or the hash of an event. */
  readonly what: string;
}

/** Looks through every key and value of Redis, byte by byte, for a user and the user's events. */
export async function tracesOf(redis: RedisClient, userId: string, eventIds: readonly string[]): Promise<Trace[]> {
  const wanted: [what: string, bytes: Buffer][] = [
    ...formsOf(userId).map((bytes): [string, Buffer] => ['user', bytes]),
    ...eventIds.flatMap((id) => formsOf(id).map((bytes): [string, Buffer] => [`event ${id}`, bytes])),
    ...eventIds.map((id): [string, Buffer] => [`hash of ${id}`, Buffer.from(eventHash(id))]),
  ];
  const traces: Trace[] = [];
  for (const [key, parts] of await everythingIn(redis)) {
    const found = new Set(
      wanted.filter(([, bytes]) => parts.some((part) => part.includes(bytes))).map(([what]) => what),
    );
    for (const what of found) traces.push({ key: key.toString(), what });
  }
  return traces;
}

/** Returns every key with its parts: the key itself, fields, members and values. */
async function everythingIn(redis: RedisClient): Promise<[key: Buffer, parts: Buffer[]][]> {
  const keys = await redis.keysBuffer('*');
  return Promise.all(
    keys.map(async (key): Promise<[Buffer, Buffer[]]> => [key, [key, ...(await partsOf(redis, key))]]),
  );
}

async function partsOf(redis: RedisClient, key: Buffer): Promise<Buffer[]> {
  const type = await redis.type(key);
  if (type === 'string') return [(await redis.getBuffer(key)) ?? Buffer.alloc(0)];
  if (type === 'hash')
    return Object.entries(await redis.hgetallBuffer(key)).flatMap(([name, value]) => [Buffer.from(name), value]);
  if (type === 'list') return redis.lrangeBuffer(key, 0, -1);
  if (type === 'set') return redis.smembersBuffer(key);
  if (type === 'zset') return redis.zrangebyscoreBuffer(key, '-inf', '+inf');
  if (type === 'stream') return (await redis.xrangeBuffer(key, '-', '+')).flat(2);
  throw new Error(`a key of type ${type}`); // 'none' would be a key that expired meanwhile: nothing here is that short
}

/** Returns the forms in which a text may be kept: as it is, escaped, encoded, or as a digest of it alone. */
function formsOf(text: string): Buffer[] {
  const utf8 = Buffer.from(text);
  const asciiJson = JSON.stringify(text)
    .slice(1, -1)
    .replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  const digests = ['sha256', 'sha1', 'md5'].map((name) => createHash(name).update(text).digest());
  return [
    utf8,
    Buffer.from(JSON.stringify(text).slice(1, -1)),
    Buffer.from(asciiJson),
    Buffer.from(text.replace(/[%{}]/g, (character) => `%${character.charCodeAt(0).toString(16)}`)),
    Buffer.from(encodeURIComponent(text)),
    Buffer.from(utf8.toString('base64')),
    Buffer.from(utf8.toString('hex')),
    ...digests.flatMap((digest) => [digest.subarray(0, 8), Buffer.from(digest.toString('hex').slice(0, 12))]),
  ];
}
