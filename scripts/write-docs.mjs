// `npm run docs`: writes those parts of the documentation that come from code and measurements. With --check it writes
// nothing, and fails if a part is out of date.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { posix } from 'node:path';
import { bundleIdOf, REASONS } from '@collectivekv/domain';
import { accessRuleWords } from '@collectivekv/redis-connection';
import { REQUIRED_ROLES, ROLES } from '@collectivekv/rpc/server';
import { queueOperatorAccess, queueProducerAccess, queueServiceAccess } from '@collectivekv/update-queue';
import { recordReaderAccess, recordWriterAccess } from '@collectivekv/user-store';
import { z } from 'zod';
import { gpuTables } from '../test/bench/dist/gpu/gpu-tables.js';
import { SABOTAGES } from '../test/chaos/dist/sabotages.js';
import { SCENARIOS } from '../test/chaos/dist/scenarios.js';
import { root } from './workspace.mjs';

const CHECK = process.argv.includes('--check');
const SERVICES = [
  ['pool', 'poolConfigSchema'],
  ['user-cache', 'userCacheConfigSchema'],
  ['ranking', 'rankingConfigSchema'],
  ['updater', 'updaterConfigSchema'],
  ['console', 'consoleConfigSchema'],
];
/** Longest line of a page. */
const MAX_LINE = 120;
let stale = 0;

replacePart('docs/glossary.md', 'names', publicNames());
replacePart('docs/errors.md', 'errors', errorsTable());
replacePart('docs/configuration.md', 'configuration', await configurationTables());
replacePart('docs/configuration.md', 'redis-users', redisUsers());
replacePart('docs/observability.md', 'metrics', serviceMetricsTable());
replacePart('docs/observability.md', 'tracing-off', tracingOff());
replacePart('docs/security.md', 'roles', rolesTables());
replacePart('training/README.md', 'metrics', metricsTable());
replacePart(
  'docs/benchmarks.md',
  'gpu',
  gpuTables(JSON.parse(readFileSync(`${root}/test/bench/results/gpu.json`, 'utf8')).runs),
);
replacePart('docs/reliability.md', 'chaos', chaosTables());
replacePart('docs/reliability.md', 'durability', durabilityTable());
replacePart('docs/reliability.md', 'sabotage', sabotageTable());
replacePart('docs/model-updates.md', 'drill', drillTables());
replacePart('docs/security.md', 'fuzz', fuzzTable());
// The quickstart's figures change with every run. They are written after a run, and not checked.
if (!CHECK && existsSync('.ckv/summary.json')) {
  const summary = readSummary();
  replacePart('README.md', 'headline', headline(summary));
  replacePart('README.md', 'summary', summaryTable(summary));
}
if (CHECK && stale > 0) {
  console.error('run "npm run docs" to update these parts');
  process.exit(1);
}

function replacePart(path, name, content) {
  const text = readFileSync(`${root}/${path}`, 'utf8');
  const begin = text.indexOf(`<!-- ${name}:begin`);
  const end = text.indexOf(`<!-- ${name}:end -->`);
  if (begin < 0 || end < 0) throw new Error(`${path} has no marks <!-- ${name}:begin --> and <!-- ${name}:end -->`);
  const from = text.indexOf('\n', begin) + 1;
  const next = `${text.slice(0, from)}${content}\n${text.slice(end)}`;
  if (next === text) return;
  stale++;
  console.log(`${path}: ${name} ${CHECK ? 'is out of date' : 'written'}`);
  if (!CHECK) writeFileSync(`${root}/${path}`, next);
}

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

/** Returns the services that register the metrics of a file of packages/. */
function servicesOf(path) {
  if (path.includes('graph-run-metrics')) return 'pool, ranking, updater';
  return path.includes('bundle-metrics') ? 'ranking, updater' : 'all';
}

/** Returns a table of the services' metrics, from the code that registers them. */
function serviceMetricsTable() {
  const registered =
    /(?:name: )?'(ckv_\w+)',\s*(?:help:\s*)?(?:'((?:[^'\\]|\\.)*)'|"([^"]*)")(?:,\s*labelNames: (\[[^\]]*\]))?/g;
  const rows = sourceFiles().flatMap((path) => {
    if (/^packages\/(cli|fleet-metrics|operations)\//.test(path)) return []; // they read metrics
    const text = readFileSync(`${root}/${path}`, 'utf8');
    const service = /^services\/([^/]+)/.exec(path)?.[1] ?? servicesOf(path);
    return [...text.matchAll(registered)].map((found) => {
      const [whole, name, single, double, ownLabels] = found;
      const kind = /new (Counter|Gauge|Histogram)[^(]*\(\{\s*$/.exec(text.slice(0, found.index))?.[1] ?? 'Gauge';
      const labels = ownLabels ?? (whole.startsWith('name') ? '' : (/labelNames: (\[[^\]]*\])/.exec(text)?.[1] ?? ''));
      const names = labels.replace(/[[\]]/g, '').replaceAll("'", '`');
      const help = (single ?? double).replaceAll('\\', '').replaceAll('|', '\\|');
      return [`\`${name}\``, service, kind.toLowerCase(), names, help];
    });
  });
  return table(
    ['metric', 'service', 'kind', 'labels', 'means'],
    rows.sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** Returns what tracing costs a Rank while it is off, beside the processor time of a Rank. */
function tracingOff() {
  const { helpers, nsPerRank, node } = readJson('test/bench/results/tracing-off.json');
  const { rows } = readJson('test/bench/results/latest.json');
  const rank = rows.find(({ name, params: { arm, positions } }) => {
    return name === 'rank_cpu' && arm === 'factored' && positions === 1_000;
  });
  const share = ((100 * nsPerRank) / (rank.value * 1e6)).toPrecision(1);
  return `Then a Rank passes at most ${helpers} calls of tracing that do nothing. Together they cost ${nsPerRank.toLocaleString('en')} ns of ranking's processor
time. That is ${share} % of the ${rank.value.toFixed(1)} ms of a Rank with ${rank.params.candidates} candidates over 1,000 positions, see [benchmarks](benchmarks.md).
Measured with Node ${node} by \`test/bench/tracing-off.ts\`.`;
}

/** Returns the paths of the packages' and services' source files, without tests. */
function sourceFiles() {
  return ['packages', 'services'].flatMap((folder) =>
    readdirSync(`${root}/${folder}`, { recursive: true })
      .map((path) => `${folder}/${path}`)
      .filter((path) => /^[^/]+\/[^/]+\/src\/.*(?<!\.test|\.fixture)\.ts$/.test(path)),
  );
}

/** Returns tables of the packages' exports, each with the first sentence of its comment. */
function publicNames() {
  const packages = readdirSync(`${root}/packages`).sort();
  return packages
    .flatMap((name) => {
      const rows = exportedNames(`${root}/packages/${name}/src`);
      return rows.length === 0 ? [] : [`### ${name}\n${table(['name', 'is'], rows)}`];
    })
    .join('\n\n');
}

function exportedNames(folder) {
  const files = [...exportedFiles(folder, '.'), ...exportedFiles(folder, 'server')].sort();
  const documented =
    /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\nexport (?:async )?(?:interface|type|class|function\*?|const) (\w+)/g;
  return files.flatMap((file) => {
    const text = readFileSync(`${folder}/${file}.ts`, 'utf8');
    return [...text.matchAll(documented)].map(([, comment, name]) => [`\`${name}\``, firstSentence(comment)]);
  });
}

/** Returns the files that an entry point of a package exports, without their ending. */
function exportedFiles(folder, entry) {
  if (!existsSync(`${folder}/${entry}/index.ts`)) return [];
  const index = readFileSync(`${folder}/${entry}/index.ts`, 'utf8');
  return [...index.matchAll(/from '(\.{1,2}\/[\w/-]+)\.js'/g)].map(([, path]) => posix.join(entry, path));
}

function firstSentence(comment) {
  const text = comment
    .replace(/^\s*\* ?/gm, '')
    .replace(/\s+/g, ' ')
    .replace(/\{@link ([\w.]+)\}/g, '`$1`')
    .trim();
  const [sentence = ''] = /^.*?\.(?= [A-Z]|$)|^.*/.exec(text.split(/ @(?:throws|param|returns) /)[0] ?? '') ?? [];
  return sentence.replace(/\|/g, '\\|');
}

function errorsTable() {
  const rows = Object.entries(REASONS).map(([reason, { statusName, retry, meaning }]) => [
    `\`${reason}\``,
    statusName,
    retry,
    meaning,
  ]);
  return table(['reason', 'gRPC status', 'retry', 'meaning'], rows);
}

/** Returns the commands that make each user of Redis, for the usual key prefix. */
function redisUsers() {
  const users = [
    ['ranking', 'reads records', recordReaderAccess],
    ['user-cache', 'keeps records', recordWriterAccess],
    ['updater', 'holds the queue', queueServiceAccess],
    ['operator', '`ckv` and the console', queueOperatorAccess],
    ['backend', 'adds jobs with a BullMQ package of its own', queueProducerAccess],
  ];
  return users
    .map(([user, does, access]) => {
      const lines = [`    ACL SETUSER ${user}`];
      for (const word of accessRuleWords(access('ckv'))) {
        if (`${lines.at(-1)} ${word}`.length > MAX_LINE) lines.push(`    ACL SETUSER ${user}`);
        lines.push(`${lines.pop()} ${word}`);
      }
      return `\`${user}\`: ${does}\n\n${lines.join('\n')}`;
    })
    .join('\n\n');
}

/** Returns the roles, and which of them each method needs. */
function rolesTables() {
  const code = (word) => `\`${word}\``;
  const callsOf = (role) =>
    Object.values(REQUIRED_ROLES).flatMap((entries) =>
      Object.entries(entries).flatMap(([method, needed]) => (needed.includes(role) ? [code(method)] : [])),
    );
  const roles = Object.entries(ROLES).map(([role, who]) => [code(role), who, callsOf(role).join(', ')]);
  const methods = Object.entries(REQUIRED_ROLES).flatMap(([service, entries]) =>
    Object.entries(entries).map(([method, needed]) => [code(`${service}/${method}`), needed.map(code).join(' or ')]),
  );
  return `${table(['role', 'for', 'may call'], roles)}\n\n${table(['method', 'needs the role'], methods)}`;
}

async function configurationTables() {
  const schemas = await Promise.all(
    SERVICES.map(async ([service, name]) => [service, (await import(`@collectivekv/${service}/config`))[name]]),
  );
  const rowsOf = (schema) => {
    const defaults = schema.parse({});
    const { properties: outputs } = z.toJSONSchema(schema, { unrepresentable: 'any' });
    const { properties: inputs } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
    return Object.entries(schema.shape).map(([name, field]) => {
      const fallback = defaults[name] === '' ? '' : `\`${defaults[name]}\``;
      const takes = valuesOf(outputs[name]) || valuesOf(inputs[name]);
      return [`\`${name}\``, fallback, takes, field.description ?? ''];
    });
  };
  // Variables with the same row in all services are listed once. Other variables are listed with their service.
  const listed = schemas.map(([service, schema]) => [service, rowsOf(schema).map((row) => row.join(' | '))]);
  const [, first] = listed[0];
  const common = first.filter((row) => listed.every(([, rows]) => rows.includes(row)));
  const head = ['variable', 'default', 'takes', 'means'];
  const parts = [
    ['Every service', common],
    ...listed.map(([name, rows]) => [name, rows.filter((r) => !common.includes(r))]),
  ];
  return parts
    .map(
      ([name, rows]) =>
        `## ${name}\n${table(
          head,
          rows.map((row) => [row]),
        )}`,
    )
    .join('\n\n');
}

/** Returns the values that a variable takes, if its schema limits them. */
function valuesOf({ type, anyOf, const: word, enum: words, minimum, maximum, minLength = 0 }) {
  if (anyOf) return anyOf.map(valuesOf).join(', ');
  if (word) return `\`${word}\``;
  if (words) return words.map((word) => `\`${word}\``).join(', ');
  if (type === 'boolean') return '`true`, `false`';
  if (minimum !== undefined) {
    return maximum === Number.MAX_SAFE_INTEGER
      ? `at least ${minimum.toLocaleString('en')}`
      : `${minimum.toLocaleString('en')} to ${maximum.toLocaleString('en')}`;
  }
  return minLength > 1 ? `at least ${minLength} characters` : '';
}

function metricsTable() {
  const { metrics, command } = JSON.parse(readFileSync(`${root}/bundles/demo/bundle.json`, 'utf8')).training;
  const arms = [
    ['CollectiveKV, fine-tuned: the bundle', metrics.auc, metrics.gauc],
    ['CollectiveKV as converted', metrics.convertedAuc, metrics.convertedGauc],
    ['full model, trained for as long', metrics.fullAuc, metrics.fullGauc],
    ['full model before the conversion', metrics.fullBeforeFineTuneAuc, metrics.fullBeforeFineTuneGauc],
    ['user dims alone, no pool', metrics.userDimsOnlyAuc, metrics.userDimsOnlyGauc],
    ['no history', metrics.noHistoryAuc, metrics.noHistoryGauc],
  ];
  const rows = arms.map(([arm, auc, gauc]) => [arm, auc.toFixed(4), gauc.toFixed(4)]);
  return `${table(['arm', 'AUC', 'GAUC'], rows)}\n\nMeasured by \`${command}\` on ${metrics.testQueries.toLocaleString('en')} queries of held-out users.`;
}

/** Returns the outcomes of the scenarios of `npm run chaos`. */
function chaosTables() {
  const rows = readJson('test/chaos/results/latest.json');
  const count = (value) => value.toLocaleString('en');
  const sum = (name) => rows.reduce((total, row) => total + row[name], 0);
  const head = ['scenario', 'faults', 'interactions', 'lost', 'duplicated', 'out of order', 'stuck', 'wrong scores'];
  const counts = ['faults', 'interactions', 'lost', 'duplicated', 'outOfOrder', 'stuck', 'wrongScores'];
  const rest = ['failedRequests', 'rankRequests', 'degradedAnswers', 'uncertainCalls', 'repeatedCalls'];
  const cellsOf = (row, names) => names.map((name) => count(row[name]));
  const total = (names) => names.map((name) => `**${count(sum(name))}**`);
  const found = table(head, [
    ...rows.map((row) => [`\`${row.scenario}\``, ...cellsOf(row, counts)]),
    ['**all**', ...total(counts)],
  ]);
  const load = table(
    [
      'scenario',
      'failed requests',
      'rank requests',
      'on a lower rung',
      'unclear calls',
      'repeated calls',
      'recovered, ms',
      'seed',
    ],
    [
      ...rows.map((row) => [`\`${row.scenario}\``, ...cellsOf(row, rest), count(row.recoveredMs), row.seed]),
      ['**all**', ...total(rest), count(Math.max(...rows.map(({ recoveredMs }) => recoveredMs))), ''],
    ],
  );
  const abouts = rows.map(({ scenario, about }) => `- \`${scenario}\`: ${about}`).join('\n');
  const without = missing('Scenarios without a recorded run', SCENARIOS, rows, ({ scenario }) => scenario);
  const minutes = Math.round(sum('seconds') / 60);
  const time = `One after the other, these runs took ${minutes} minutes. Two run at once, unless \`--parallel\` says otherwise.`;
  return `${abouts}\n\n${found}\n\n${load}\n\n${time}\n\n${without}`;
}

/** Returns what was lost with each way in which Redis keeps its data. */
function durabilityTable() {
  const recorded = readJson('test/chaos/results/latest.json');
  const count = (value) => value.toLocaleString('en');
  return table(
    ['Redis', 'what happens', 'promise', 'faults', 'accepted', 'lost', 'applied twice', 'out of order'],
    SCENARIOS.flatMap(({ name, durability }) => {
      if (!durability) return [];
      const { redis, event, promise } = durability;
      const run = recorded.find(({ scenario }) => scenario === name);
      if (!run) return [[redis, event, `${promise} (no recorded run)`, '', '', '', '', '']];
      const counts = ['lost', 'duplicated', 'outOfOrder'].map((key) => count(run[key] + run.allowed[key]));
      return [[redis, event, promise, count(run.faults), count(run.interactions), ...counts]];
    }),
  );
}

/** Returns what the oracle reported while a protection was taken out. */
function sabotageTable() {
  const noticed = readJson('test/chaos/results/sabotage.json');
  const rows = noticed.map(({ protection, file, scenario, reported }) => [
    protection,
    `\`${file.split('/').at(-1)}\``,
    `\`${scenario}\``,
    Object.entries(reported)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ') || 'other problems',
  ]);
  const without = missing('Protections whose run is not recorded', SABOTAGES, noticed, ({ name }) => name);
  return `${table(['protection', 'taken out of', 'scenario', 'reported'], rows)}\n\n${without}`;
}

/** Returns the phases of each arm of `npm run drill`. */
function drillTables() {
  const path = `${root}/test/drill/results/latest.json`;
  if (!existsSync(path)) return 'No run is recorded. `npm run drill` writes one, and `npm run docs` this part.';
  const { seed, date, arms } = JSON.parse(readFileSync(path, 'utf8'));
  const count = (value) => value.toLocaleString('en');
  const head = ['phase', 'requests', 'failed', 'p50, p99, ms', 'AUC', 'lowest', 'cold', 'coverage'];
  const rowOf = (one) => [
    one.phase,
    count(one.requests),
    one.failed,
    `${one.p50Ms.toFixed(1)}, ${one.p99Ms.toFixed(1)}`,
    ...[one.auc, one.lowestAuc, one.coldAuc].map((value) => value.toFixed(3)),
    one.coverage === null ? '' : `${(100 * one.coverage).toFixed(1)} %`,
  ];
  const parts = arms.map((arm) => {
    const kills = Object.entries(arm.kills).map(([what, times]) => `${what} ${times}`);
    const without = kills.length === 0 ? 'Nothing is killed' : `Kills: ${kills.join(', ')}`;
    const lines = [
      `${without}. ${count(arm.interactions)} interactions, ${count(arm.recordsCompared)} records and ${count(arm.answersCompared)} answers compared:`,
      `${arm.lost} lost, ${arm.duplicated} applied twice, ${arm.outOfOrder} out of order, ${arm.wrongAnswers} wrong answers, ${arm.failedRequests} failed requests.`,
    ];
    return `${lines.join('\n')}\n\n${table(head, arm.phases.map(rowOf))}`;
  });
  const legend = `*lowest* is the AUC of the worst 100 requests in a row, *cold* that of the same bundle without a history. The control
is no part of a runbook: v3 in a copy with an encoding of its own is activated by force, and nothing was backfilled.
The load, all services and other programs shared two cores, so the times say little. Seed ${seed}, ${date}.`;
  return `${parts.join('\n\n')}\n\n${legend}`;
}

/** Returns a sentence with the names of those that have no row, in lines of the docs' width. */
function missing(what, all, rows, nameOfRow) {
  const names = all.map(({ name }) => name).filter((name) => !rows.some((row) => nameOfRow(row) === name));
  const sentence = `${what}: ${names.map((name) => `\`${name}\``).join(', ') || 'none'}.`;
  return sentence.replace(/(.{1,110})(?: |$)/g, '$1\n').trimEnd();
}

function readJson(path) {
  return existsSync(`${root}/${path}`) ? JSON.parse(readFileSync(`${root}/${path}`, 'utf8')) : [];
}

function fuzzTable() {
  const path = `${root}/test/fuzz/results/latest.json`;
  if (!existsSync(path)) return 'No run is recorded. `npm run fuzz` writes one, and `npm run docs` this table.';
  const count = (value) => value.toLocaleString('en');
  const { seed, inputs, surfaces, growth, faults } = JSON.parse(readFileSync(path, 'utf8'));
  const rows = surfaces.map((one) => [
    one.surface,
    count(one.inputs),
    `${((100 * one.inputs) / inputs).toFixed(1)} %`,
    ...[one.refused, one.accepted, one.validChecks].map((value) => count(value)),
  ]);
  const largest = (kept) => Math.max(0, ...growth.map(({ before, after }) => after[kept] - before[kept]));
  const [most, second] = [...surfaces].sort((a, b) => b.inputs - a.inputs);
  const share = Math.round((100 * (most.inputs + second.inputs)) / inputs);
  const heap = `${largest('heapMb').toFixed(1)} MB of heap and ${largest('openFiles')} open files`;
  return `${table(['surface', 'malformed inputs', 'share', 'refused', 'taken', 'valid inputs between them'], rows)}

The last run had ${count(inputs)} malformed inputs and ${faults.length} faults (seed ${seed}).
${share} % of the inputs went to two surfaces that cost little: ${most.surface} and ${second.surface}.
No service kept more than ${heap} beyond its warm-up.`;
}

function readSummary() {
  const summary = JSON.parse(readFileSync(`${root}/.ckv/summary.json`, 'utf8'));
  const { bundleId, interactions, users } = summary;
  const demoId = bundleIdOf(readFileSync(`${root}/bundles/demo/bundle.json`));
  if (interactions === 100_000 && users === 100 && bundleId === demoId) return summary;
  throw new Error('.ckv/summary.json is not from "npm start -- --once" with default options; run that first');
}

function headline(s) {
  const bytes = `${s.bytesPerPosition.toFixed(1)} bytes a position instead of ${s.fullKvBytesPerPosition.toLocaleString('en')}`;
  return `**Rank candidates by attention over a user's whole history, at ${bytes}** (the demo
bundle: keys and values 256 wide, float32).`;
}

function summaryTable(s) {
  const count = (value) => value.toLocaleString('en');
  const rows = [
    ['bytes per position in Redis, Redis keys included', s.bytesPerPosition.toFixed(2)],
    ['bytes per position of a full KV cache', count(s.fullKvBytesPerPosition)],
    ['compressed to', `${(s.compressionRatio * 100).toFixed(2)} %`],
    [
      'rank, 200 candidates over 1,000 positions, p50 / p99',
      `${s.rankP50Ms.toFixed(1)} / ${s.rankP99Ms.toFixed(1)} ms`,
    ],
    ['event to servable, p50 / p99', `${s.freshnessP50Ms.toFixed(0)} / ${s.freshnessP99Ms.toFixed(0)} ms`],
    ['interactions per second, queue to record', count(s.interactionsPerSecond)],
    [
      'AUC with history / with history ignored by the same bundle',
      `${s.aucWithHistory.toFixed(3)} / ${s.aucWithoutHistory.toFixed(3)}`,
    ],
    [
      'resident memory',
      Object.entries(s.residentMb)
        .map(([name, mb]) => `${name} ${mb} MB`)
        .join(', '),
    ],
  ];
  return table(['figure', 'value'], rows);
}
