import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { plotsOf } from './plots.js';
import { mergeRun, type Results, type Row, type Run } from './results.js';
import { gridTable, listTable } from './tables.js';

/** Files of a report. */
export interface ReportPaths {
  readonly results: string;
  /** A page with two marks. The report is written between them. */
  readonly page: string;
  /** Folder of the plots. */
  readonly plots: string;
}

/** A table of the page. */
interface Section {
  readonly title: string;
  readonly names: readonly string[];
  /** Parameters of lines and columns. The parameter `name` is the figure's name. */
  readonly grid: readonly [down: string, across: string];
  /** Restricts the table to rows with this value of a parameter. */
  readonly where?: readonly [parameter: string, value: string | number];
}

const SECTIONS: readonly Section[] = [
  { title: 'Rank p50 by history length', names: ['rank_p50'], grid: ['positions', 'arm'] },
  {
    title: 'Stages of Rank with the recommended bundle, p50',
    names: ['rank_stage_p50'],
    grid: ['positions', 'stage'],
    where: ['arm', 'factored'],
  },
  {
    title: 'Stages of Rank with a full fp16 cache, p50',
    names: ['rank_stage_p50'],
    grid: ['positions', 'stage'],
    where: ['arm', 'full_fp16'],
  },
  {
    title: 'Processor time of ranking per request',
    names: ['rank_cpu'],
    grid: ['positions', 'arm'],
    where: ['service', 'ranking'],
  },
  {
    title: 'Ratios by history length',
    names: [
      'rank_over_bare',
      'rank_over_bare_unary',
      'rank_over_bare_unsplit',
      'rank_over_bare_by_user_cache',
      'speedup_full_kv_fp16',
      'speedup_full_kv_fp32',
      'speedup_recompute',
      'speedup_pool',
    ],
    grid: ['positions', 'name'],
  },
  { title: 'Redis GET of the record, p50', names: ['redis_get_p50'], grid: ['positions', 'arm'] },
  {
    title: 'Graphs alone, on one thread',
    names: ['assembled_graph_p50', 'collapsed_graph_p50', 'collapse_speedup'],
    grid: ['positions', 'name'],
  },
  {
    title: 'By number of candidates, 1,000 positions',
    names: ['candidates_rank_p50', 'candidates_rank_cpu', 'candidates_bare_p50'],
    grid: ['candidates', 'name'],
  },
  { title: 'Rank p50 by slots of the pool and by positions', names: ['pool_rank_p50'], grid: ['pool', 'positions'] },
  {
    title: 'Processor time of ranking by slots of the pool and by positions',
    names: ['pool_rank_cpu'],
    grid: ['pool', 'positions'],
  },
  { title: 'Answers per second', names: ['rank_rate'], grid: ['in flight', 'arm'] },
  {
    title: "Time of ranking's main thread by package, 16 requests in flight",
    names: ['main_thread_share'],
    grid: ['owner', 'name'],
  },
  { title: 'Latency by offered load', names: ['open_loop_latency'], grid: ['offered /s', 'percentile'] },
  {
    title: 'Delay of the load generator, and share of failed requests',
    names: ['open_loop_sent_late_p99', 'open_loop_failed'],
    grid: ['offered /s', 'name'],
  },
  { title: 'Bytes per user in Redis', names: ['bytes_per_user'], grid: ['positions', 'arm'] },
  { title: 'Share of a full float32 cache', names: ['bytes_ratio'], grid: ['positions', 'arm'] },
  { title: 'Memory, short run', names: ['rss', 'rss_slope'], grid: ['service', 'name'], where: ['note', 'short'] },
  { title: 'Memory, soak', names: ['rss', 'rss_slope'], grid: ['service', 'name'], where: ['note', 'soak'] },
];

/** A page, its plots and its results. */
export interface Report {
  /** Adds a run to the results, and writes page and plots. */
  write(run: Run, rows: readonly Row[]): void;
  /** Writes page and plots from the results. */
  render(): void;
}

/**
 * Opens a report. Call it before a run, so that no run is wasted.
 * @throws Error if the page has no marks, or if the results cannot be read
 */
export function openReport(paths: ReportPaths): Report {
  readResults(paths.results);
  placeIn(paths.page);
  return {
    write(run, rows) {
      const results = mergeRun(readResults(paths.results), run, rows);
      mkdirSync(dirname(paths.results), { recursive: true });
      writeFileSync(paths.results, `${JSON.stringify(results, null, 2)}\n`);
      render(results, paths);
    },
    render: () => render(readResults(paths.results), paths),
  };
}

function render({ runs, rows }: Results, paths: ReportPaths): void {
  mkdirSync(paths.plots, { recursive: true });
  const plots = plotsOf(rows);
  for (const { file, svg } of plots) writeFileSync(join(paths.plots, file), svg);
  const folder = relative(dirname(paths.page), paths.plots);
  const images = plots.map(({ file, title }) => `![${title}](${folder}/${file})`);
  const parts = [runs.map(runText).join('\n'), ...tablesOf(rows, images)];
  const { before, after } = placeIn(paths.page);
  writeFileSync(paths.page, `${before}${parts.join('\n\n')}\n${after}`);
}

function readResults(path: string): Results {
  if (!existsSync(path)) return { runs: [], rows: [] };
  const results: Partial<Results> = JSON.parse(readFileSync(path, 'utf8'));
  if (!Array.isArray(results.runs) || !Array.isArray(results.rows)) {
    throw new Error(`${path} has no runs and rows; delete the file, or give another folder with --out`);
  }
  return { runs: results.runs, rows: results.rows };
}

/** Returns the text of a page before and after the report. */
function placeIn(page: string): { before: string; after: string } {
  const text = readFileSync(page, 'utf8');
  const [begin, end] = [text.indexOf('<!-- bench:begin'), text.indexOf('<!-- bench:end -->')];
  if (begin < 0 || end < 0)
    throw new Error(`${page} has no marks for the figures; add <!-- bench:begin --> and <!-- bench:end -->`);
  return { before: text.slice(0, text.indexOf('\n', begin) + 1), after: text.slice(end) };
}

function tablesOf(rows: readonly Row[], images: readonly string[]): string[] {
  const targets = rows.filter(({ target }) => target !== '');
  const inSection = ({ names, where }: Section) =>
    rows.filter(({ name, params }) => names.includes(name) && (!where || params[where[0]] === where[1]));
  const named = new Set(SECTIONS.flatMap(({ names }) => names));
  const others = rows.filter(({ name, target }) => target === '' && !named.has(name));
  const sections = SECTIONS.flatMap((section) => {
    const own = inSection(section);
    if (own.length === 0) return [];
    return [`### ${section.title}`, gridTable(own, ...section.grid)];
  });
  const rest = others.length > 0 ? ['### Other figures', listTable(others)] : [];
  return ['### Targets', listTable(targets), ...images, ...sections, ...rest];
}

function runText({ mode, finished, minutes, rounds, node, cores, cpu, leftOut }: Run): string {
  const extent = `${minutes.toFixed(1)} minutes, ${rounds} ${rounds === 1 ? 'round' : 'rounds'} of each figure`;
  const without = leftOut.length === 0 ? '' : `, without ${leftOut.join(', ')}`;
  const machine = `one machine with ${cores} cores (${cpu}), Node ${node}`;
  return `- A ${mode} run on ${finished.slice(0, 10)}: ${extent}${without}. All processes ran on ${machine}.`;
}
