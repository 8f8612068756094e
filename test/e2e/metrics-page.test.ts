// Every metric that a running service has is in docs/observability.md, with its kind and labels.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type E2eStack, interactionsOf, startE2e } from './e2e-stack.js';

/** Labels that every metric has, and those of the parts of a histogram. */
const COMMON = ['service', 'le'];
const page = readFileSync(new URL('../../docs/observability.md', import.meta.url), 'utf8');
let e2e: E2eStack;
beforeAll(async () => {
  e2e = await startE2e();
  await e2e.client.recordInteractions(interactionsOf('u', 30));
  await e2e.untilApplied('u', 30);
  await e2e.client.rank({ userId: 'u', candidateIds: ['i0001'] });
});
afterAll(() => e2e?.close());

it.each(['pool', 'user-cache', 'ranking', 'updater'] as const)('names all metrics of %s', async (name) => {
  const [service] = e2e.stack.services[name];
  const text = await fetch(`http://${service?.metricsAddress}/metrics`).then((response) => response.text());
  const kinds = [...text.matchAll(/^# TYPE (ckv_\w+) (\w+)$/gm)];
  expect(kinds.length).toBeGreaterThan(2);
  for (const [, metric = '', kind] of kinds) {
    const rows = page.split('\n').filter((line) => line.startsWith(`| \`${metric}\` |`));
    const cells = rows.map((row) => row.split('|').map((cell) => cell.trim()));
    const row = cells.find(([, , of]) => of === 'all' || of?.split(', ').includes(name));
    expect(row?.[3], `${metric} of ${name}`).toBe(kind);
    const served = [...text.matchAll(new RegExp(`^${metric}(?:_bucket)?\\{(.*)\\} `, 'gm'))].flatMap(
      ([, labels = '']) => [...labels.matchAll(/(\w+)="/g)].map(([, label = '']) => label),
    );
    const labels = [...new Set(served)].filter((label) => !COMMON.includes(label));
    for (const label of labels) expect(row?.[4], `labels of ${metric}`).toContain(`\`${label}\``);
  }
});
