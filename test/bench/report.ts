import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { plotsOf } from './plots.js';
import { mergeRun, type Results, type Row, type Run, type UsedBundle } from './results.js';
import { bundleOf, rowsOf, SECTIONS, type Section } from './sections.js';
import { SUMMARY_ONLY, summaryTable } from './summary.js';
import { gridTable, listTable, table } from './tables.js';
import { busyText } from './usage.js';

/** Files of a report. */
export interface ReportPaths {
  readonly results: string;
  /** A page with two marks. The report is written between them. */
  readonly page: string;
  /** Folder of the plots. */
  readonly plots: string;
}

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

function render(results: Results, paths: ReportPaths): void {
  mkdirSync(paths.plots, { recursive: true });
  const plots = plotsOf(results.rows);
  for (const { file, svg } of plots) writeFileSync(join(paths.plots, file), svg);
  const folder = relative(dirname(paths.page), paths.plots);
  const images = plots.map(({ file, title }) => `![${title}](${folder}/${file})`);
  const parts = [results.runs.map(runText).join('\n'), ...tablesOf(results, images)];
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

function tablesOf({ runs, rows }: Results, images: readonly string[]): string[] {
  const targets = rows.filter(({ target }) => target !== '');
  const named = new Set([...SECTIONS.flatMap(({ names }) => names), ...SUMMARY_ONLY]);
  const others = rows.filter(({ name, target }) => target === '' && !named.has(name));
  const sections = SECTIONS.flatMap((section) => {
    const own = rowsOf(section, rows);
    if (own.length === 0) return [];
    return [`### ${section.title}`, caption(section, own, runs), gridTable(own, ...section.grid)];
  });
  const summary = summaryTable(rows);
  const side = summary ? ['### Quality, bytes and time of the same bundles', summary] : [];
  const rest = others.length > 0 ? ['### Other figures', listTable(others)] : [];
  return [
    ...['### Bundles', bundleTable(runs)],
    ...side,
    ...['### Targets', 'Of the bundles above.', listTable(targets)],
    ...images,
    ...sections,
    ...rest,
  ];
}

function bundleTable(runs: readonly Run[]): string {
  const lines = runs.flatMap(({ mode, bundles }) =>
    bundles.map(({ name, id, trainedOn }) => [name, `\`${id}\``, trainedOn ?? 'random weights', mode]),
  );
  return table(['name', 'id', 'trained on', 'run'], lines);
}

/** Returns a line that names the bundles of a section's figures: of the runs that measured them. */
function caption(section: Section, own: Results['rows'], runs: readonly Run[]): string {
  const bundles = runs.filter(({ mode }) => own.some((row) => row.mode === mode)).flatMap((run) => run.bundles);
  const known = bundles.filter((bundle) => isOf(section, own, bundle));
  const used = known.length > 0 ? known : bundles;
  const data = [...new Set(used.map(({ trainedOn }) => trainedOn?.split(':')[0] ?? 'random weights'))];
  return `Bundles: ${used.map(({ name, id }) => `${name} \`${id}\``).join(', ')}; ${data.join(', ')}.`;
}

function isOf({ random, compares }: Section, own: readonly Row[], { name, trainedOn }: UsedBundle): boolean {
  if (random || !trainedOn) return random === true && !trainedOn;
  return compares === true || own.some(({ params }) => bundleOf(params) === name);
}

function runText({ mode, finished, minutes, rounds, node, cores, cpu, leftOut, loadBefore = 0 }: Run): string {
  const extent = `${minutes.toFixed(1)} minutes, ${rounds} ${rounds === 1 ? 'round' : 'rounds'} of each figure`;
  const without = leftOut.length === 0 ? '' : `, without ${leftOut.join(', ')}`;
  const machine = `one machine with ${cores} cores (${cpu}), Node ${node}`;
  const busy = busyText(loadBefore, cores);
  const about = `- ${mode === 'overload' ? 'An' : 'A'} ${mode} run on ${finished.slice(0, 10)}: ${extent}${without}. All processes ran on ${machine}.`;
  return busy === '' ? about : `${about} ${busy}.`;
}
