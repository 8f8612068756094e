import {
  type AccessRules,
  accessRuleWords,
  closeRedis,
  connectedRedis,
  primariesOf,
  type RedisClient,
} from '@collectivekv/redis-connection';
import { expect, vi } from 'vitest';
import { recordReaderAccess, recordWriterAccess } from './record-access.js';
import { createRecordKeys } from './record-keys.js';
import { createRedisRecordReader } from './redis-record-reader.js';

const ENCODING = '0123456789abcdef';

/** Makes a user on every server that holds keys, and connects as this user. */
async function connectAs(
  user: string,
  access: AccessRules,
  { admin, url }: { readonly admin: RedisClient; readonly url: string },
): Promise<RedisClient> {
  for (const primary of primariesOf(admin)) {
    await primary.call('ACL', 'SETUSER', user, ...accessRuleWords(access, 'pass/word'));
    await primary.call('ACL', 'LOG', 'RESET');
  }
  const ownUrl = url.replace('://', `://${user}:pass%2Fword@`);
  return connectedRedis(ownUrl, { field: 'url', name: user, whenAway: 'fail' }, 20_000);
}

/** Connects as the Redis user that docs/configuration.md gives to the user-cache. The caller closes the client. */
export function connectAsWriter(admin: RedisClient, url: string, keyPrefix: string): Promise<RedisClient> {
  return connectAs('user-cache', recordWriterAccess(keyPrefix), { admin, url });
}

/** Checks that the user of {@link connectAsWriter} was never refused, and that it can do nothing else. */
export async function expectWriteAccess(admin: RedisClient, writer: RedisClient): Promise<void> {
  for (const primary of primariesOf(admin)) expect(await primary.call('ACL', 'LOG')).toEqual([]);
  const outcomes = await Promise.allSettled([
    writer.get('other:{u}:01234567'),
    writer.set('{ckv}:interactions-0:meta', 'x'),
    writer.eval("return redis.call('del', KEYS[1])", 1, 'other'),
    writer.call('CONFIG', 'GET', '*'),
    writer.call('KEYS', '*'),
    writer.call('FLUSHALL'),
  ]);
  const refusals = outcomes.map((outcome) => (outcome.status === 'rejected' ? String(outcome.reason) : 'allowed'));
  for (const refusal of refusals) expect(refusal).toMatch(/NOPERM|No permissions|can't (run|access)/);
}

/**
 * Checks that the Redis user that docs/configuration.md gives to ranking can read records on a deployment, and can do
 * nothing else.
 * @param admin a client with all rights
 * @param url the deployment's URL, without credentials
 * @returns the reader's client; the caller closes it
 */
export async function expectReadAccess(admin: RedisClient, url: string): Promise<RedisClient> {
  const key = createRecordKeys('ckv').record('u', ENCODING);
  await admin.set(key, 'bytes');
  const warnings = vi.spyOn(console, 'warn');

  const client = await connectAs('ranking', recordReaderAccess('ckv'), { admin, url });
  const reader = createRedisRecordReader({ client, keyPrefix: 'ckv' });
  const users = ['u', ...Array.from({ length: 20 }, (_, i) => `nobody-${i}`)]; // on every node of a cluster
  const [bytes, ...others] = await reader.getRecords(ENCODING, users);
  expect(String(bytes)).toBe('bytes');
  expect(others.every((other) => other === undefined)).toBe(true);
  for (const primary of primariesOf(admin)) expect(await primary.call('ACL', 'LOG')).toEqual([]);
  expect(warnings).not.toHaveBeenCalled();

  for (const forbidden of [client.set(key, 'other'), client.del(key), client.get('other:{u}:01234567')]) {
    await expect(forbidden).rejects.toThrow(/^NOPERM/);
  }
  const foreign = createRedisRecordReader({ client, keyPrefix: 'other' });
  await expect(foreign.getRecords(ENCODING, ['u'])).rejects.toMatchObject({ reason: 'dependency_unavailable' });
  const watcher = await connectAs('ranking', recordReaderAccess('ckv'), { admin, url });
  await watcher.subscribe(createRecordKeys('ckv').erasures);
  await expect(watcher.subscribe('other')).rejects.toThrow(/NOPERM|No permissions/);
  closeRedis(watcher);
  return client;
}
