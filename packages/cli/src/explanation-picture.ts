import type { Explanation, RankDetails } from '@collectivekv/client';
import { counted } from '@collectivekv/domain';
import { type ExplainedItem, noteOf, positionTable, summaryOf } from './explanation-text.js';

const [WIDTH, PANEL_HEIGHT] = [900, 220];
const PLOT = { left: 70, right: 880, top: 40, bottom: 180 };
const [ADDS, TAKES] = ['#0b6e4f', '#c8553d'];
/** Bars of a panel. The contributions of a longer history are added up, in equal runs of positions. */
const MOST_BARS = 270;

/**
 * Draws the contributions of all positions as SVG: a panel for each item, a bar for each position, oldest first. Without
 * contributions, a bar is the difference that leaving out a shown position makes.
 */
export function explanationSvg(explanation: Explanation, items: readonly ExplainedItem[]): string {
  const panels = items.map((item, i) => panel(explanation, item, i * PANEL_HEIGHT));
  const height = items.length * PANEL_HEIGHT;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    '<title>What each position adds to a score</title>',
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    ...panels,
    '</svg>',
    '',
  ].join('\n');
}

/** Returns a page with the picture and a table for each item. */
export function explanationPage(
  explanation: Explanation,
  items: readonly ExplainedItem[],
  { bundleId, positionCount }: RankDetails,
): string {
  const tables = items.map((item) => {
    const { head, rows } = positionTable(explanation, item, positionCount);
    const row = (cells: readonly (string | number)[], tag: string) =>
      `<tr>${cells.map((cell) => `<${tag}>${escaped(String(cell))}</${tag}>`).join('')}</tr>`;
    const body = [row(head, 'th'), ...rows.map((cells) => row(cells, 'td'))].join('\n');
    return `<h2>${escaped(summaryOf(item, positionCount))}</h2>\n<table>\n${body}\n</table>`;
  });
  return [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8"><title>Explanation of scores</title>',
    '<style>body { font-family: sans-serif; margin: 2em; max-width: 60em } h2 { font-size: 1em }',
    'table { border-collapse: collapse } td, th { border: 1px solid #ccc; padding: 0.2em 0.5em; text-align: right }',
    '</style></head><body>',
    `<h1>Explanation of scores</h1><p>Bundle ${escaped(bundleId)}, ${counted(positionCount, 'position')}.</p>`,
    explanationSvg(explanation, items),
    ...tables,
    `<p>${escaped(noteOf(explanation))}</p>`,
    '</body></html>',
    '',
  ].join('\n');
}

function panel({ method }: Explanation, item: ExplainedItem, y: number): string {
  const bars = method === 'attention' ? runsOf(item.contributions) : differencesOf(item);
  const most = Math.max(...bars.map(Math.abs), 1e-9);
  const middle = (PLOT.top + PLOT.bottom) / 2;
  const half = (PLOT.bottom - PLOT.top) / 2;
  const step = (PLOT.right - PLOT.left) / Math.max(bars.length, 1);
  const drawn = bars.map((value, i) => {
    const height = (Math.abs(value) / most) * half;
    const top = value >= 0 ? middle - height : middle;
    const place = `x="${round(PLOT.left + i * step)}" y="${round(top)}"`;
    const size = `width="${round(Math.max(step * 0.85, 0.5))}" height="${round(height)}"`;
    return `<rect ${place} ${size} fill="${value >= 0 ? ADDS : TAKES}"/>`;
  });
  const [adds, axis] =
    method === 'attention' ? ['adds', 'all positions'] : ['makes a difference of', 'newest positions'];
  return [
    `<g transform="translate(0 ${y})">`,
    text(PLOT.left, 22, summaryOf(item, item.contributions.length), 'start'),
    ...drawn,
    `<line x1="${PLOT.left}" y1="${middle}" x2="${PLOT.right}" y2="${middle}" stroke="#888888"/>`,
    text(PLOT.left - 8, PLOT.top + 6, `+${most.toPrecision(2)}`, 'end'),
    text(PLOT.left - 8, middle + 4, '0', 'end'),
    text(PLOT.left - 8, PLOT.bottom, `-${most.toPrecision(2)}`, 'end'),
    text(PLOT.left, PLOT.bottom + 18, 'oldest', 'start'),
    text((PLOT.left + PLOT.right) / 2, PLOT.bottom + 18, `what each ${adds}, ${axis}`, 'middle'),
    text(PLOT.right, PLOT.bottom + 18, 'newest', 'end'),
    '</g>',
  ].join('\n');
}

/** Adds contributions up in at most {@link MOST_BARS} runs of equally many positions. */
function runsOf(contributions: Float32Array): number[] {
  const size = Math.max(1, Math.ceil(contributions.length / MOST_BARS));
  const runs = Array<number>(Math.ceil(contributions.length / size)).fill(0);
  contributions.forEach((one, i) => {
    const run = Math.floor(i / size);
    runs[run] = (runs[run] ?? 0) + one;
  });
  return runs;
}

function differencesOf({ score, positions }: ExplainedItem): number[] {
  return [...positions].sort((a, b) => a.index - b.index).map(({ scoreWithout }) => score - scoreWithout);
}

function text(x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end'): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="#222222">${escaped(content)}</text>`;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function escaped(content: string): string {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return content.replace(/[&<>"]/g, (character) => names[character] ?? '');
}
