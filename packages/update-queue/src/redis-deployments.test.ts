// The same queue on a cluster, as the user that docs/configuration.md gives to updaters.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPrivateCluster } from '@collectivekv/private-redis';
import { accessRuleWords, closeRedis, connectedRedis, primariesOf } from '@collectivekv/redis-connection';
import { expect, it } from 'vitest';
import { isClaimed, openEncodingClaims } from './encoding-claims.js';
import { openLeaseTable } from './lease-table.js';
import { openPartitionQueue } from './partition-queue.js';
import { createInteractionProducer } from './producer.js';
import { queueServiceAccess } from './queue-access.js';
import { leaseKeys } from './queue-names.js';
import { openWarmings } from './warmings.js';

it('works on a cluster: queues, leases and terms are in one slot', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'ckv-queue-cluster-'));
  const cluster = await startPrivateCluster({ dir: join(dir, 'server'), dataDir: dir, nodeCount: 3 });
  const admin = await connectedRedis(cluster.url, { field: 'url', name: 'test', whenAway: 'fail' }, 20_000);
  for (const primary of primariesOf(admin)) {
    await primary.call('ACL', 'SETUSER', 'updater', ...accessRuleWords(queueServiceAccess('ckv'), 'secret'));
  }
  const url = cluster.url.replace('://', '://updater:secret@');
  const client = await connectedRedis(url, { field: 'url', name: 'test', whenAway: 'fail' }, 20_000);
  const { terms } = await openLeaseTable(client, 'ckv', 1).hold('one', 60_000);
  const [term] = terms;
  if (!term) throw new Error('no lease');
  const producer = createInteractionProducer({
    client,
    keyPrefix: 'ckv',
    partitionCount: 1,
    maxWaitingJobs: 9,
  });
  for (const eventId of ['a', 'b', 'c']) {
    await producer.enqueue([
      { eventId, userId: 'u', itemId: 'i', timestampMs: 1_700_000_000_000, action: '', features: {} },
    ]);
  }
  const queue = openPartitionQueue({ client, keyPrefix: 'ckv', term, token: 'one' });
  await queue.recover();
  const [first, second, third] = await queue.take(5);
  if (!first || !second || !third) throw new Error('nothing taken');
  await queue.remember(first, 1);
  await queue.fail(second, 'invalid_request: wrong');
  await queue.complete([first, third]);
  const warmings = openWarmings({ client, keyPrefix: 'ckv', partitionCount: 1 });
  const encodingId = '0123456789abcdef';
  const claim = await openEncodingClaims(client, 'ckv').take(encodingId, 'the test');
  if (!isClaimed(claim)) throw new Error('no claim');
  const row = { eventId: 'd', userId: 'u', itemId: 'i', timestampMs: 1_700_000_000_000, action: '', features: {} };
  await warmings.begin(claim, { bundleId: 'b', source: 'files', digest: '', rowCount: 1 });
  await queue.warming.arm(true, [encodingId]);
  await warmings.open(claim);
  await queue.log([{ ...row, eventId: 'e' }]);
  await warmings.send(claim, [row], 0, true);
  const applied: string[] = [];
  for (let batch = await queue.warming.read(encodingId, 9); batch; batch = await queue.warming.read(encodingId, 9)) {
    applied.push(...batch.waves.flatMap(({ events }) => events.map(({ interaction }) => interaction.eventId)));
    if (batch.entryCount === 0) await queue.warming.nextPhase(batch);
    for (const wave of batch.waves) await queue.warming.complete(batch, wave);
  }
  expect(applied).toEqual(['d', 'e']);
  await queue.erase({ userId: 'u' }, 1, async () => undefined);
  expect(await queue.trimLog()).toBe(0);
  await warmings.end(claim);
  await claim.release();
  await client.hset(leaseKeys('ckv').leases, '0', 'two 9999999999999');
  await expect(queue.take(5)).rejects.toMatchObject({ reason: 'conflict' });
  await queue.close();
  await producer.close();
  for (const primary of primariesOf(admin)) expect(await primary.call('ACL', 'LOG')).toEqual([]);
  closeRedis(client);
  closeRedis(admin);
  await cluster.stop();
  await rm(dir, { recursive: true, force: true });
}, 60_000);
