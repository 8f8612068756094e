import { readFileSync } from 'node:fs';
import { connectedRedis, primariesOf, type RedisClient } from '@collectivekv/redis-connection';
import { expect, vi } from 'vitest';
import { createRecordKeys } from './record-keys.js';
import { createRedisRecordReader } from './redis-record-reader.js';

const GUIDE = new URL('../../../docs/configuration.md', import.meta.url);
const BUNDLE = '0123456789abcdef';

/**
 * Checks that the Redis user of docs/configuration.md can read records on a deployment, and can do nothing else.
 * @param admin a client with all rights
 * @param url the deployment's URL, without credentials
 * @returns the reader's client; the caller closes it
 */
export async function expectReadAccess(admin: RedisClient, url: string): Promise<RedisClient> {
  const [, user = '', rule = ''] = /^ {4}ACL SETUSER (\S+) (.*)$/m.exec(readFileSync(GUIDE, 'utf8')) ?? [];
  for (const primary of primariesOf(admin)) {
    await primary.call('ACL', 'SETUSER', user, ...rule.replace('>PASSWORD', '>pass/word').split(' '));
    await primary.call('ACL', 'LOG', 'RESET');
  }
  const key = createRecordKeys('ckv').record('u', BUNDLE);
  await admin.set(key, 'bytes');
  const warnings = vi.spyOn(console, 'warn');

  const ownUrl = url.replace('://', `://${user}:pass%2Fword@`);
  const client = await connectedRedis(ownUrl, { field: 'url', name: 'reader', whenAway: 'fail' }, 20_000);
  const reader = createRedisRecordReader({ client, keyPrefix: 'ckv' });
  const users = ['u', ...Array.from({ length: 20 }, (_, i) => `nobody-${i}`)]; // on every node of a cluster
  const [bytes, ...others] = await reader.getRecords(BUNDLE, users);
  expect(String(bytes)).toBe('bytes');
  expect(others.every((other) => other === undefined)).toBe(true);
  for (const primary of primariesOf(admin)) expect(await primary.call('ACL', 'LOG')).toEqual([]);
  expect(warnings).not.toHaveBeenCalled();

  for (const forbidden of [client.set(key, 'other'), client.del(key), client.get('other:{u}:01234567')]) {
    await expect(forbidden).rejects.toThrow(/^NOPERM/);
  }
  const foreign = createRedisRecordReader({ client, keyPrefix: 'other' });
  await expect(foreign.getRecords(BUNDLE, ['u'])).rejects.toMatchObject({ reason: 'dependency_unavailable' });
  return client;
}
