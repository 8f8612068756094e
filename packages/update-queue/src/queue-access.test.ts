// The users of Redis that docs/configuration.md gives to updaters, operators and backends. All other tests of the queue
// run as these users.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type AccessRules, accessRuleWords, closeRedis, connectedRedis } from '@collectivekv/redis-connection';
import { describe, expect, it } from 'vitest';
import { openQueues } from './open-queues.js';
import { useQueue } from './queue.fixture.js';
import { queueOperatorAccess, queueProducerAccess, queueServiceAccess } from './queue-access.js';

const SCRIPTS = join(dirname(createRequire(import.meta.url).resolve('bullmq')), 'scripts');
const ADDING = ['addStandardJob-9', 'addDelayedJob-6', 'addPrioritizedJob-9'];
const CONSUMING = ['moveToActive-11', 'moveToFinished-14', 'updateProgress-3', 'getCounts-1'];
const INSPECTING = ['getCounts-1', 'getRanges-1', 'reprocessJob-9', 'removeJob-2'];

/** Returns the commands that a script of BullMQ names. */
function commandsOf(script: string): string[] {
  const text = readFileSync(join(SCRIPTS, `${script}.js`), 'utf8');
  return [...text.matchAll(/call\(\s*\\?["']([A-Za-z]+)/g)].map(([, command = '']) => command.toLowerCase());
}

describe.each([
  ['a backend', queueProducerAccess, ADDING],
  ['an updater', queueServiceAccess, [...ADDING, ...CONSUMING]],
  ['an operator', queueOperatorAccess, INSPECTING],
] as const)('the user of %s', (_, access, scripts) => {
  it.each(scripts)("has every command of BullMQ's %s", (script) => {
    const commands = commandsOf(script);
    expect(commands.length).toBeGreaterThan(0);
    expect(commands.filter((command) => !access('ckv').commands.includes(command))).toEqual([]);
  });
});

describe('the users of the queue', () => {
  const queue = useQueue();

  it('touch no other key, and run no other command', async () => {
    for (const client of [queue.service(), queue.operator()]) {
      const outcomes = await Promise.allSettled([
        client.set('ckv:{u}:01234567', 'x'),
        client.get('other'),
        client.eval("return redis.call('get', KEYS[1])", 1, 'ckv:bundles'),
        client.call('CONFIG', 'GET', '*'),
        client.call('KEYS', '*'),
        client.flushall(),
        client.call('ACL', 'LIST'),
      ]);
      for (const outcome of outcomes) {
        const refusal = outcome.status === 'rejected' ? String(outcome.reason) : 'allowed';
        expect(refusal).toMatch(/NOPERM|No permissions|can't (run|access)/);
      }
    }
  });

  it('a backend adds jobs by BullMQ, and cannot take them', async () => {
    const client = await connectAs(queueProducerAccess('ckv'));
    const [first, ...others] = openQueues(client, 'ckv', 2);
    await first?.add('record', {}, { delay: 1 });
    await first?.add('record', {}, { priority: 1 });
    const { id = '' } = (await first?.add('record', {}, { jobId: 'record-1' })) ?? {};
    expect(id).toBe('record-1');
    await expect(client.lrem('{ckv}:interactions-0:wait', 0, id)).rejects.toThrow(/NOPERM/);
    for (const one of [first, ...others]) await one?.close();
    closeRedis(client);
  });

  async function connectAs(access: AccessRules) {
    await queue.client().call('ACL', 'SETUSER', 'backend', ...accessRuleWords(access, 'secret'));
    const { host, port } = queue.client().options as { host: string; port: number };
    const url = `redis://backend:secret@${host}:${port}`;
    return connectedRedis(url, { field: 'url', name: 'backend', whenAway: 'fail' });
  }
});
