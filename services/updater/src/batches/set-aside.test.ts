import type { CkvError } from '@collectivekv/domain';
import { createMetrics } from '@collectivekv/service-kit';
import { jobIdOf, type PartitionQueue, parseInteractionJob, type TakenJob } from '@collectivekv/update-queue';
import { expect, it } from 'vitest';
import { createUpdaterMetrics } from '../metrics.js';
import { createSetAside } from './set-aside.js';

const interaction = {
  eventId: 'e',
  userId: 'anna',
  itemId: 'i',
  timestampMs: 1_700_000_000_000,
  action: '',
  features: {},
};

/** Sets a job aside, and returns its line in the log. */
async function logged(id: string, payload: unknown): Promise<Record<string, unknown>> {
  const lines: Record<string, unknown>[] = [];
  const log = { warn: (facts: Record<string, unknown>) => void lines.push(facts) };
  const receipts = { setAside: () => Promise.reject(new Error('unused')) };
  const setAside = createSetAside({ receipts, metrics: createUpdaterMetrics(createMetrics('test')), log });
  const queue = { partition: 3, fail: async () => undefined } as unknown as PartitionQueue;
  const taken = { id, name: 'record', payload } as unknown as TakenJob;
  try {
    parseInteractionJob('record', payload);
  } catch (error) {
    await setAside(queue, taken, error as CkvError);
  }
  return lines[0] ?? {};
}

it.each([
  ['a name', { features: { anna: 'x' } }],
  ['a name with dots and lines', { features: { 'a.b\n.features.anna': Number.POSITIVE_INFINITY } }],
])('logs the path of a feature without its name: %s', async (_, part) => {
  const line = await logged('job-of-anna', { version: 1, interactions: [interaction, { ...interaction, ...part }] });
  expect(line).toMatchObject({ partition: 3, reason: 'invalid_request', field: 'data.interactions[1].features.*' });
  expect(JSON.stringify(line)).not.toContain('anna');
});

it("logs this system's job ids, and a hash of all others", async () => {
  const own = jobIdOf('record', [interaction]);
  expect(await logged(own, {})).toMatchObject({ jobId: own, field: 'data.version' });
  for (const id of ['job-of-anna', `anna-${own}`, `${own}\nanna`]) {
    expect((await logged(id, {})).jobId).toMatch(/^sha256:[0-9a-f]{12}$/);
  }
});
