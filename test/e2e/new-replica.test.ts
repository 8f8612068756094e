// A replica of ranking that starts later, behind the name of a headless service: 127.0.0.1 and 127.0.0.2 on one port.
import { promises as dns } from 'node:dns';
import { platform } from 'node:os';
import { createCollectiveKvClient } from '@collectivekv/client';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type E2eStack, type OtherRanking, startE2e, startOtherRanking } from './e2e-stack.js';

const NAME = 'ranking.example';
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

describe.runIf(platform() === 'linux')('a replica of ranking that is added later', () => {
  it('takes its share within 10 s, without a restart of a client', async () => {
    const port = e2e.stack.targets.ranking.split(':')[1];
    const client = createCollectiveKvClient({ rankingTarget: `dns:///${NAME}:${port}`, rankTimeoutMs: 10_000 });
    const rank = () => client.rank({ userId: 'x', candidateIds: ['i0001'] });
    await rank();
    added = await startOtherRanking(e2e.stack, { CKV_BIND: `127.0.0.2:${port}` });
    const { metricsAddress } = added;
    addresses = ['127.0.0.1', '127.0.0.2'];
    const answers = async () => {
      await Promise.all([rank(), rank(), rank(), rank()]);
      const text = await (await fetch(`http://${metricsAddress}/metrics`)).text();
      return Number(/^ckv_rank_answers_total\S* (\d+)/m.exec(text)?.[1] ?? 0);
    };
    await expect.poll(answers, { timeout: 10_000 }).toBeGreaterThan(4);
    client.close();
  });
});
