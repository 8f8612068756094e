// The rules and the dashboard name metrics that there are, and every alert has its page. Where Prometheus can be had, its
// own tools check the rules, provoke each alert, and every expression returns data about a running stack.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createCollectiveKvClient } from '@collectivekv/client';
import { type Stack, startConsole, startStack } from '@collectivekv/dev-stack';
import { parser } from '@prometheus-io/lezer-promql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MONITORING, readPanels, readRules } from './expressions.js';
import { findPrometheus } from './find-prometheus.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const rules = readRules();
const panels = readPanels();
const alerts = rules.filter(({ alert }) => alert);
const records = rules.flatMap(({ record }) => record ?? []);
const pages = readdirSync(`${root}/docs/runbook`).filter((name) => name !== 'README.md');
const documented = new Set(
  [...readFileSync(`${root}/docs/observability.md`, 'utf8').matchAll(/^\| `(ckv_\w+)` \|/gm)].map(([, name]) => name),
);
/** Metrics that a Node.js process or Prometheus itself has. */
const OTHERS = /^(up|ALERTS|process_\w+|nodejs_\w+)$/;

/** Figures that compare with counts of training, which the demo bundle lacks. */
const NEEDS_COUNTS = /ckv_pool_usage_drift/;

/**
 * What alerts read and this stack lacks. It has no audits, no files of secrets, and no counts of training. No call has
 * failed, and no answer is on a lower rung.
 */
const LATER = /ckv_audit_|ckv_credential_|ckv_pool_usage_drift|rung!="full"|known="false"|RESOURCE_EXHAUSTED/;

/** Metrics that the client library of Prometheus gives every process, under names of its own. */
const LIBRARY = /^nodejs_active_(handles|requests|resources)_total /;

/** Returns the selectors of an expression, such as `ckv_jobs_total{outcome="failed"}`. Throws if it is not PromQL. */
function selectorsOf(expr: string): string[] {
  const selectors: string[] = [];
  parser.parse(expr).iterate({
    enter({ type, from, to }) {
      if (type.isError) throw new Error(`not PromQL at ${from}: ${expr}`);
      if (type.name === 'VectorSelector') selectors.push(expr.slice(from, to));
    },
  });
  return selectors;
}

/** Returns the metrics that an expression reads. */
function metricsOf(expr: string): string[] {
  return selectorsOf(expr).map((selector) => selector.split('{')[0] ?? '');
}

function isKnown(metric: string): boolean {
  return documented.has(metric.replace(/_(bucket|count|sum)$/, '')) || documented.has(metric) || OTHERS.test(metric);
}

describe('every expression', () => {
  it.each([
    ...rules.map(({ record, alert, expr }) => [record ?? alert, expr] as const),
    ...panels.map(({ panel, expr }) => [panel, expr] as const),
  ])('of %s reads metrics that there are', (_, expr) => {
    const metrics = metricsOf(expr);
    expect(metrics.length).toBeGreaterThan(0);
    expect(metrics.filter((metric) => !isKnown(metric) && !records.includes(metric))).toEqual([]);
  });

  it('would be refused if it were none, or read another metric', () => {
    expect(() => metricsOf('sum(rate(ckv_jobs_total[5m])')).toThrow('not PromQL');
    expect(metricsOf('sum(rate(ckv_no_such_total[5m]))').filter(isKnown)).toEqual([]);
  });
});

describe('every alert', () => {
  it.each(alerts)('$alert has a severity, a summary and a page', ({ alert, labels, annotations }) => {
    expect(['page', 'ticket']).toContain(labels?.severity);
    expect(annotations?.summary).toMatch(/\w/);
    expect(annotations?.runbook).toBe(`docs/runbook/${alert}.md`);
    const page = readFileSync(`${root}/${annotations?.runbook}`, 'utf8');
    for (const part of ['## Impact', '## Diagnosis', '## Mitigation']) expect(page).toContain(part);
  });

  it('is one for each page', () => {
    expect(pages).toEqual([...new Set(alerts.map(({ alert }) => `${alert}.md`))].sort());
  });
});

it.each(['write-dashboards.mjs', 'write-rule.mjs'])('has files that are as %s writes them', (script) => {
  execFileSync(process.execPath, [join(MONITORING, script), '--check']);
});

const found = await findPrometheus();
describe.skipIf(!found)('in Prometheus', () => {
  it('the rules are valid', () => {
    execFileSync(found?.promtool ?? '', ['check', 'rules', join(MONITORING, 'rules.yaml')]);
  });

  it('each alert fires at its cause, and none in quiet times', () => {
    const cases = readFileSync(`${MONITORING}/rules.test.yaml`, 'utf8');
    for (const { alert } of alerts) expect(cases).toMatch(new RegExp(`alertname="${alert}"`));
    execFileSync(found?.promtool ?? '', ['test', 'rules', join(MONITORING, 'rules.test.yaml')]);
  });

  describe('about a running stack', () => {
    const dir = mkdtempSync(join(tmpdir(), 'ckv-monitoring-'));
    let stack: Stack;
    let prometheus: ReturnType<typeof spawn>;
    let url = '';

    beforeAll(async () => {
      stack = await startStack({ dir, bundlesDir: `${root}/bundles/demo` });
      const services = Object.values(stack.services).flat();
      const config = {
        // A scrape may take as long as the interval: a busy machine needs more than a moment.
        global: { scrape_interval: '2s', evaluation_interval: '2s' },
        rule_files: [join(MONITORING, 'rules.yaml')],
        scrape_configs: [
          {
            job_name: 'collectivekv',
            honor_labels: true,
            static_configs: [{ targets: services.map(({ metricsAddress }) => metricsAddress) }],
          },
        ],
      };
      writeFileSync(join(dir, 'prometheus.yml'), JSON.stringify(config));
      prometheus = spawn(
        found?.prometheus ?? '',
        [
          `--config.file=${join(dir, 'prometheus.yml')}`,
          `--storage.tsdb.path=${join(dir, 'data')}`,
          '--web.listen-address=127.0.0.1:0',
        ],
        { stdio: ['ignore', 'ignore', 'pipe'] },
      );
      url = await new Promise<string>((resolve, reject) => {
        prometheus.once('exit', (code) => reject(new Error(`prometheus ended with ${code}`)));
        prometheus.stderr?.on('data', (bytes) => {
          const address = /msg="Listening on" address=(\S+)/.exec(String(bytes))?.[1];
          if (address) resolve(`http://${address}`);
        });
      });
    });
    afterAll(async () => {
      prometheus?.kill('SIGKILL');
      await stack?.stop();
      rmSync(dir, { recursive: true, force: true });
    });

    /** Returns how many series an expression has now. */
    async function countOf(expr: string): Promise<number> {
      const answer = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(expr)}`);
      const { status, data, error } = (await answer.json()) as {
        status: string;
        error?: string;
        data: { result: unknown[] };
      };
      if (status !== 'success') throw new Error(`${expr}: ${error}`);
      return data.result.length;
    }

    it('every panel and every record has data, and so has what the alerts read', async () => {
      const { ranking, updater } = stack.targets;
      const client = createCollectiveKvClient({ rankingTarget: ranking, interactionTarget: updater });
      const wanted = [
        ...panels.map(({ expr }) => expr).filter((expr) => !NEEDS_COUNTS.test(expr)),
        ...records,
        ...new Set(alerts.flatMap(({ expr }) => selectorsOf(expr)).filter((selector) => !LATER.test(selector))),
      ];
      let count = 0;
      const empty = async () => {
        const userId = `u${count % 10}`;
        await client.recordInteractions([{ userId, eventId: `e${count++}`, itemId: 'i0001', timestampMs: Date.now() }]);
        await client.rank({ userId, candidateIds: ['i0001', 'i0002'] });
        const counts = await Promise.all(wanted.map(countOf));
        return wanted.filter((_, i) => counts[i] === 0);
      };
      await expect.poll(empty, { timeout: 120_000, interval: 300 }).toEqual([]);
      client.close();
    });

    it('the metrics of every process have names and helps as they should be', async () => {
      const page = await startConsole(stack, { dir });
      for (const { name, metricsAddress } of [...Object.values(stack.services).flat(), page]) {
        const input = await (await fetch(`http://${metricsAddress}/metrics`)).text();
        const { stderr } = spawnSync(found?.promtool ?? '', ['check', 'metrics'], { input, encoding: 'utf8' });
        const problems = stderr.split('\n').filter((line) => line !== '' && !LIBRARY.test(line));
        expect({ name, problems }).toEqual({ name, problems: [] });
      }
      await page.stop();
    });

    it('no alert is wrong about its metrics', async () => {
      for (const { expr } of alerts) expect(await countOf(expr)).toBeGreaterThanOrEqual(0);
    });
  });
});
