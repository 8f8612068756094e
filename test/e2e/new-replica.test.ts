// A replica of ranking that starts later, behind the name of a headless service: 127.0.0.1 and 127.0.0.2 on one port.
import { promises as dns } from 'node:dns';
import { platform } from 'node:os';
import { createCollectiveKvClient } from '@collectivekv/client';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type E2eStack, type OtherRanking, startE2e, startOtherRanking } from './e2e-stack.js';

const NAME = 'ranking.example';
const CALLS = 48;
let e2e: E2eStack;
let added: OtherRanking | undefined;
let addresses = ['127.0.0.1'];

beforeAll(async () => {
  e2e = await startE2e();
  const lookup = async () => addresses.map((address) => ({ address, family: 4 }));
  vi.spyOn(dns, 'lookup').mockImplementation(lookup as unknown as typeof dns.lookup);
});
afterAll(async () => {
  vi.restoreAllMocks();
  await added?.close();
  await e2e?.close();
});

/** Returns how many calls a replica has answered. */
async function answersOf({ metricsAddress }: { readonly metricsAddress: string }): Promise<number> {
  const text = await (await fetch(`http://${metricsAddress}/metrics`)).text();
  const counts = [...text.matchAll(/^ckv_rank_answers_total\S* (\d+)/gm)].map(([, count]) => Number(count));
  return counts.reduce((sum, count) => sum + count, 0);
}

describe.runIf(platform() === 'linux')('a replica of ranking that is added later', () => {
  it('takes its share within 10 s, without a restart of a client', async () => {
    const port = e2e.stack.targets.ranking.split(':')[1];
    const client = createCollectiveKvClient({ rankingTarget: `dns:///${NAME}:${port}`, rankTimeoutMs: 10_000 });
    const rank = () => client.rank({ userId: 'x', candidateIds: ['i0001'] });
    await rank();
    added = await startOtherRanking(e2e.stack, { CKV_BIND: `127.0.0.2:${port}` });
    const replicas = [...e2e.stack.services.ranking, added];
    addresses = ['127.0.0.1', '127.0.0.2'];
    const answers = () => Promise.all(replicas.map(answersOf));
    const smallestShare = async () => {
      const before = await answers();
      await Promise.all(Array.from({ length: CALLS }, rank));
      const after = await answers();
      return Math.min(...after.map((count, i) => count - (before[i] ?? 0))) / CALLS;
    };
    await expect.poll(smallestShare, { timeout: 10_000 }).toBeGreaterThanOrEqual(1 / 3);
    client.close();
  });
});
