// Writes the Grafana dashboard from the list of its panels: `node deploy/monitoring/write-dashboards.mjs`. With --check
// it writes nothing, and fails if the file is out of date.
import { readFileSync, writeFileSync } from 'node:fs';

const FILE = new URL('dashboards/collectivekv.json', import.meta.url);
const WIDTH = 24;
const HEIGHT = 8;

const quantile = (q, metric, by = '') =>
  `histogram_quantile(${q}, sum by (${by ? `${by}, ` : ''}le) (rate(${metric}_bucket[$__rate_interval])))`;
const rate = (metric, by = '', labels = '') =>
  `sum${by ? ` by (${by})` : ''} (rate(${metric}${labels ? `{${labels}}` : ''}[$__rate_interval]))`;
const share = (metric, labels) => `(${rate(metric, '', labels)} or vector(0)) / ${rate(metric)}`;
const RANK = 'rpc=~"RankingService/.*"';

/** Rows of panels: title, unit, and [legend, expression] of each line. */
const ROWS = {
  'What users feel': [
    ['Rank calls', 'reqps', [['{{code}}', rate('ckv_rpc_duration_seconds_count', 'code', RANK)]]],
    [
      'Rank time in the service',
      's',
      [0.5, 0.99].map((q) => [
        `p${q * 100}`,
        `histogram_quantile(${q}, sum by (le) (rate(ckv_rpc_duration_seconds_bucket{${RANK}}[$__rate_interval])))`,
      ]),
    ],
    [
      'From the queue to the records',
      's',
      [0.5, 0.99].map((q) => [`p${q * 100}`, quantile(q, 'ckv_queued_to_servable_seconds')]),
    ],
    [
      'Error budgets: share of bad events, 1 h',
      'percentunit',
      [
        ['availability', 'ckv:rank_errors:ratio_rate1h'],
        ['latency', 'ckv:rank_slow:ratio_rate1h'],
        ['freshness', 'ckv:stale_jobs:ratio_rate1h'],
      ],
    ],
  ],
  Ranking: [
    ['Stages, p99', 's', [['{{stage}}', quantile(0.99, 'ckv_rank_stage_seconds', 'stage')]]],
    ['Answers by rung', 'reqps', [['{{rung}} {{reason}}', rate('ckv_rank_answers_total', 'rung, reason')]]],
    ['Records of answers', 'reqps', [['{{record}}, copy {{copy}}', rate('ckv_rank_records_total', 'record, copy')]]],
    ['Positions of answers', 'short', [0.5, 0.99].map((q) => [`p${q * 100}`, quantile(q, 'ckv_rank_positions')])],
    ['Size of records', 'bytes', [0.5, 0.99].map((q) => [`p${q * 100}`, quantile(q, 'ckv_rank_record_bytes')])],
    ['Unknown candidates', 'percentunit', [['share', share('ckv_rank_candidates_total', 'known="false"')]]],
    [
      'Requests in ranking',
      'short',
      [
        ['worked on', 'sum(ckv_rank_started_requests)'],
        ['waiting', 'sum(ckv_rank_waiting_requests)'],
        ['graph runs that wait, {{service}}', 'sum by (service) (ckv_engine_queued_runs)'],
      ],
    ],
    [
      'Users of a shared graph run',
      'short',
      [0.5, 0.99].map((q) => [`p${q * 100}`, quantile(q, 'ckv_rank_batch_users')]),
    ],
    ['Answers by bundle role', 'reqps', [['{{served_as}}', rate('ckv_rank_served_total', 'served_as')]]],
  ],
  'Queue and updater': [
    ['Oldest waiting job', 's', [['age', 'max(ckv_oldest_waiting_job_seconds)']]],
    ['Waiting jobs', 'short', [['jobs', 'sum(ckv_waiting_jobs)']]],
    ['Interactions', 'cps', [['{{outcome}}', rate('ckv_interactions_total', 'outcome')]]],
    ['Jobs', 'cps', [['{{outcome}}', rate('ckv_jobs_total', 'outcome')]]],
    [
      'Interactions of a batch',
      'short',
      [0.5, 0.99].map((q) => [`p${q * 100}`, quantile(q, 'ckv_batch_interactions')]),
    ],
    ['Partitions by updater', 'short', [['{{instance}}', 'ckv_held_partitions']]],
    ['Backfill: behind', 's', [['lag', 'max(ckv_warming_lag_seconds)']]],
    ['Backfill: partitions', 'short', [['partitions', 'sum(ckv_warming_partitions)']]],
  ],
  'Redis and records': [
    ['Redis, p99', 's', [['{{service}}', quantile(0.99, 'ckv_redis_seconds', 'service')]]],
    ['Positions written', 'cps', [['{{outcome}}', rate('ckv_positions_total', 'outcome')]]],
    ['Evicted records', 'cps', [['evicted', rate('ckv_redis_evicted_keys_total')]]],
    ['Unreadable records', 'cps', [['moved away', rate('ckv_records_unreadable_total')]]],
  ],
  'Bundles and pool': [
    ['Bundles', 'short', [['{{name}} {{bundle}}', 'count by (bundle, name, encoding) (ckv_bundle_info)']]],
    [
      'Not loaded',
      'short',
      [['{{bundle}} {{state}}', 'count by (bundle, state) (ckv_bundle_loaded == 0) or vector(0)']],
    ],
    ['Canary share', 'percentunit', [['{{bundle}}', 'max by (bundle) (ckv_bundle_canary_share) or vector(0)']]],
    ['Slots in use', 'short', [['{{bundle}} {{field}}', 'max by (bundle, field) (ckv_pool_slots_used)']]],
    [
      'Drift of slots',
      'percentunit',
      [
        ['{{bundle}} {{field}}', 'max by (bundle, field) (ckv_pool_usage_drift)'],
        ['bound of chance', 'max by (bundle, field) (ckv_pool_usage_drift_bound)'],
      ],
    ],
    ['Perplexity of slots', 'short', [['{{bundle}} {{field}}', 'max by (bundle, field) (ckv_pool_perplexity)']]],
  ],
  Processes: [
    ['Processor', 'short', [['{{service}} {{instance}}', 'rate(process_cpu_seconds_total[$__rate_interval])']]],
    ['Memory', 'bytes', [['{{service}} {{instance}}', 'process_resident_memory_bytes']]],
    ['Delay of the event loop, p99', 's', [['{{service}} {{instance}}', 'nodejs_eventloop_lag_p99_seconds']]],
    ['Calls by service', 'reqps', [['{{rpc}}', rate('ckv_rpc_duration_seconds_count', 'rpc')]]],
  ],
};

const dashboard = {
  uid: 'collectivekv',
  title: 'CollectiveKV',
  tags: ['collectivekv'],
  timezone: 'browser',
  schemaVersion: 39,
  refresh: '10s',
  time: { from: 'now-1h', to: 'now' },
  templating: {
    list: [{ name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus' }],
  },
  panels: panelsOf(ROWS),
};

const text = `${JSON.stringify(dashboard, null, 2)}\n`;
if (!process.argv.includes('--check')) writeFileSync(FILE, text);
else if (readFileSync(FILE, 'utf8') !== text) {
  console.error('deploy/monitoring/dashboards/collectivekv.json is out of date; run write-dashboards.mjs');
  process.exit(1);
}

function panelsOf(rows) {
  const panels = [];
  let y = 0;
  const add = (panel) => panels.push({ id: panels.length + 1, ...panel });
  for (const [title, members] of Object.entries(rows)) {
    add({ type: 'row', title, gridPos: { x: 0, y, w: WIDTH, h: 1 }, collapsed: false, panels: [] });
    y++;
    const w = WIDTH / 4;
    members.forEach(([name, unit, lines], i) => {
      const datasource = { type: 'prometheus', uid: '$datasource' };
      add({
        type: 'timeseries',
        title: name,
        datasource,
        gridPos: { x: (i % 4) * w, y: y + Math.floor(i / 4) * HEIGHT, w, h: HEIGHT },
        fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
        options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi' } },
        targets: lines.map(([legendFormat, expr], line) => ({
          refId: String.fromCharCode(65 + line),
          datasource,
          expr,
          legendFormat,
        })),
      });
    });
    y += Math.ceil(members.length / 4) * HEIGHT;
  }
  return panels;
}
