import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServiceProcess } from '@collectivekv/dev-stack';
import { errorFrom } from '@collectivekv/rpc';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import fc from 'fast-check';
import { damagedBytes } from '../inputs/damaged-bytes.js';
import { hostileText } from '../inputs/hostile.js';
import { specOf } from '../rpcs/malformed-requests.js';
import type { ServicesUnderFuzz } from '../services-under-fuzz.js';
import type { Surface } from '../surface.js';

/** The authorization header of a call; undefined for a call without one. */
type Authorization = string | undefined;

const TOKEN = 'the-right-token-of-the-fuzz-run';
const RIGHT = `Bearer ${TOKEN}`;
/** Forms of the right header: the word Bearer has any case, and HTTP trims spaces around a value. */
const RIGHT_FORMS = new RegExp(`^ *bearer +${TOKEN} *$`, 'i');
const ALIKE = [
  ...['', 'Bearer', 'Bearer ', TOKEN, RIGHT.toLowerCase(), RIGHT.toUpperCase(), `bearer ${TOKEN}`, `Bearer  ${TOKEN}`],
  ...[`${RIGHT} `, `${RIGHT}x`, RIGHT.slice(0, -1), `Basic ${TOKEN}`, `Bearer ${TOKEN}, Bearer x`, `${RIGHT}\t`],
  ...[`Bearer ${'x'.repeat(TOKEN.length)}`, 'Bearer undefined', 'Bearer null', 'Bearer *', 'Bearer __proto__'],
];

/** Headers without the right token, to a user-cache that asks for one. */
export async function tokensSurface({ stack, stillRight }: ServicesUnderFuzz): Promise<Surface<Authorization>> {
  const dir = await mkdtemp(join(tmpdir(), 'ckv-fuzz-token-'));
  const service = await startServiceProcess({
    name: 'user-cache',
    logFile: join(dir, 'user-cache.log'),
    env: { CKV_BIND: '127.0.0.1:0', CKV_REDIS_URL: stack.redisUrl, CKV_TOKEN: TOKEN },
  });
  await service.untilReady();
  const client = new Client(service.address, credentials.createInsecure());
  const spec = specOf('UserCacheService', 'Stats');
  const call = (authorization: Authorization): Promise<ServiceError | undefined> => {
    const metadata = new Metadata();
    if (authorization !== undefined) metadata.set('authorization', authorization);
    const asIs = (bytes: Buffer) => bytes;
    const options = { deadline: Date.now() + 10_000 };
    return new Promise((resolve) => {
      client.makeUnaryRequest(spec.path, asIs, asIs, Buffer.alloc(0), metadata, options, (error) =>
        resolve(error ?? undefined),
      );
    });
  };
  const text = fc.oneof(
    fc.constantFrom(...ALIKE),
    hostileText,
    damagedBytes([Buffer.from(RIGHT)]).map((bytes) => bytes.toString('latin1')),
  );
  const legal = text.map((value) => value.replace(/[^\x20-\x7e]/g, '').slice(0, 4_000));

  return {
    name: 'tokens',
    inputs: fc.option(legal, { nil: undefined }).filter((value) => !RIGHT_FORMS.test(value ?? '')),
    async judge(authorization) {
      const error = await call(authorization);
      if (!error) throw new Error('a call without the right token was accepted');
      const { reason } = errorFrom(error);
      if (reason === 'unauthenticated') return 'refused';
      throw new Error(`refused with ${reason}: ${error.details}`);
    },
    async stillRight() {
      await stillRight();
      const error = await call(RIGHT);
      if (error) throw error;
    },
    async close() {
      client.close();
      await service.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
