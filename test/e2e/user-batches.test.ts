// Users share runs of the rank graph: their scores are those that each gets alone, also while the bundle changes.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RankInput, Ranking } from '@collectivekv/client';
import { CkvError } from '@collectivekv/domain';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { copyDemo } from './bundle-copies.js';
import { type E2eStack, interactionsOf, startE2e } from './e2e-stack.js';

/** Users of a RankMany, and most users of a run. */
const USERS = 64;
const candidateIds = Array.from({ length: 130 }, (_, i) => `i${String(i * 13).padStart(4, '0')}`);

const BUSY = { timeout: 60_000, interval: 20 };

let dir: string;
let e2e: E2eStack;
let [first, second] = ['', ''];
/** What each user is answered alone. */
let alone: Ranking[];

/** A request of a user. Each user has other candidates, and another number of them. */
const inputOf = (user: number): RankInput => ({
  userId: `u${user}`,
  candidateIds: candidateIds.slice(user, user + 1 + ((user * 7) % 60)),
});
const inputs = Array.from({ length: USERS }, (_, user) => inputOf(user));

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-user-batches-'));
  [first, second] = [copyDemo(join(dir, 'first'), 'first').id, copyDemo(join(dir, 'second'), 'second').id];
  e2e = await startE2e({
    dir: join(dir, 'stack'),
    bundlesDir: dir,
    env: {
      pool: { CKV_ACTIVE_BUNDLE: 'first' },
      ranking: { CKV_BATCH_USERS: String(USERS) },
    },
  });
  for (let user = 1; user < USERS; user++) await e2e.client.recordInteractions(interactionsOf(`u${user}`, user * 2));
  for (let user = 1; user < USERS; user++) await e2e.untilApplied(`u${user}`, user * 2);
  alone = [];
  for (const input of inputs) alone.push(await e2e.client.rank(input));
});
afterAll(async () => {
  await e2e?.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Returns a metric of ranking. */
async function metric(name: string): Promise<number> {
  const [ranking] = e2e.stack.services.ranking;
  const text = await (await fetch(`http://${ranking?.metricsAddress}/metrics`)).text();
  return Number(new RegExp(`^${name}\\S* (\\d+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
}

function expectAsAlone(answers: readonly (Ranking | CkvError)[]): void {
  const problems = answers.flatMap((answer, user) => {
    if (answer instanceof CkvError) return [`u${user}: ${answer.message}`];
    const wanted = alone[user];
    const differences = Array.from(answer.scores, (score, i) => Math.abs(score - (wanted?.scores[i] ?? Number.NaN)));
    const isClose = answer.scores.length === wanted?.scores.length && Math.max(...differences) < 1e-4;
    return isClose && answer.info.positionCount === wanted.info.positionCount ? [] : [`u${user}: other scores`];
  });
  expect(problems).toEqual([]);
}

it('answers users that ask at once as each alone', async () => {
  expect(await metric('ckv_rank_batch_users_count')).toBe(0);
  expectAsAlone(await Promise.all(inputs.map((input) => e2e.client.rank(input))));
  expect(await metric('ckv_rank_batch_users_count')).toBeGreaterThan(0);
  expect(await metric('ckv_rank_most_batch_users')).toBe(USERS);
});

it('answers all users of RankMany as each alone, two calls at once', async () => {
  const before = await metric('ckv_rank_batch_users_sum');
  for (let i = 0; i < 4; i++) {
    const calls = await Promise.all([e2e.client.rankMany(inputs), e2e.client.rankMany(inputs)]);
    for (const answers of calls) expectAsAlone(answers);
  }
  expect((await metric('ckv_rank_batch_users_sum')) - before).toBeGreaterThan(USERS);
  expect(await metric('ckv_rank_repeated_runs_total')).toBe(0);
});

it('answers them while the bundle changes and changes back, each by one of the bundles', async () => {
  let served = '';
  let ranking = true;
  const requests = (async () => {
    while (ranking) {
      const answers = await e2e.client.rankMany(inputs);
      expectAsAlone(answers);
      for (const answer of answers) if (!(answer instanceof CkvError)) served = answer.info.bundleId;
    }
  })();
  requests.catch(() => undefined); // awaited below
  try {
    await expect.poll(() => served, BUSY).toBe(first);
    await e2e.pool.call('Activate', { bundleId: second, force: true });
    await expect.poll(() => served, BUSY).toBe(second);
    await e2e.pool.call('Rollback', {});
    await expect.poll(() => served, BUSY).toBe(first);
  } finally {
    ranking = false;
    await requests;
  }
});
