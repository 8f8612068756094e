/** A line of a chart. */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Index of the colour, from 0; default: the index of the series. */
  readonly colour?: number;
}

/** Contents of a chart. */
export interface LineChart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly Series[];
  /** Logarithmic x axis; default linear from 0. */
  readonly xLog?: boolean;
  /** Logarithmic y axis; default linear from 0. */
  readonly yLog?: boolean;
}

const [WIDTH, HEIGHT] = [720, 420];
const PLOT = { left: 70, right: 560, top: 46, bottom: 360 };
const COLOURS = [
  '#0b6e4f',
  '#c8553d',
  '#3d5a80',
  '#8f6593',
  '#b8860b',
  '#555555',
  '#2a9d8f',
  '#94b447',
  '#d1495b',
  '#6b705c',
];

interface Axis {
  place(value: number): number;
  readonly ticks: readonly number[];
}

/** Draws a chart as SVG. Its white background is readable on light and dark pages. */
export function lineChart({ title, xLabel, yLabel, series, xLog = false, yLog = false }: LineChart): string {
  const points = series.flatMap((one) => one.points);
  const x = axis(
    points.map(([value]) => value),
    xLog,
    PLOT.left,
    PLOT.right,
  );
  const y = axis(
    points.map(([, value]) => value),
    yLog,
    PLOT.bottom,
    PLOT.top,
  );
  const middle = (PLOT.left + PLOT.right) / 2;
  const centre = (PLOT.top + PLOT.bottom) / 2;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    `<text x="${PLOT.left}" y="24" font-size="15" fill="#222222">${escaped(title)}</text>`,
    ...x.ticks.map((tick) => grid(x.place(tick), PLOT.top, x.place(tick), PLOT.bottom)),
    ...y.ticks.map((tick) => grid(PLOT.left, y.place(tick), PLOT.right, y.place(tick))),
    ...x.ticks.map((tick) => text(x.place(tick), PLOT.bottom + 18, shortNumber(tick), 'middle')),
    ...y.ticks.map((tick) => text(PLOT.left - 8, y.place(tick) + 4, shortNumber(tick), 'end')),
    text(middle, HEIGHT - 18, xLabel, 'middle'),
    `<g transform="rotate(-90 18 ${centre})">${text(18, centre, yLabel, 'middle')}</g>`,
    ...series.map((one, i) => line(one, i, { x, y })),
    '</svg>',
    '',
  ].join('\n');
}

function line({ name, points, colour: number }: Series, i: number, { x, y }: { x: Axis; y: Axis }): string {
  const colour = COLOURS[(number ?? i) % COLOURS.length];
  const placed = points.map(([px, py]) => `${round(x.place(px))},${round(y.place(py))}`);
  const legendY = PLOT.top + 8 + i * 20;
  const dots = placed.map((at) => `<circle cx="${at.split(',')[0]}" cy="${at.split(',')[1]}" r="3" fill="${colour}"/>`);
  return [
    `<polyline points="${placed.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
    ...dots,
    `<path d="M${PLOT.right + 12} ${legendY}h18" stroke="${colour}" stroke-width="3"/>`,
    text(PLOT.right + 36, legendY + 4, name, 'start'),
  ].join('\n');
}

function axis(values: readonly number[], log: boolean, from: number, to: number): Axis {
  const ticks = log ? decades(Math.min(...values), Math.max(...values)) : steps(Math.max(...values));
  const scaled = (value: number) => (log ? Math.log10(value) : value);
  const [low, high] = [scaled(ticks[0] ?? 0), scaled(ticks.at(-1) ?? 1)];
  return { ticks, place: (value) => from + ((scaled(value) - low) / (high - low)) * (to - from) };
}

/** Returns ticks 1, 3, 10, 30, … around the values. */
function decades(least: number, most: number): number[] {
  const candidates = Array.from({ length: 40 }, (_, i) => 10 ** Math.floor((i - 20) / 2) * (i % 2 === 0 ? 1 : 3));
  const first = candidates.findLastIndex((tick) => tick <= least);
  const last = candidates.findIndex((tick) => tick >= most);
  return candidates.slice(Math.max(0, first), last + 1);
}

function steps(most: number): number[] {
  const rough = most / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough) ?? rough;
  return Array.from({ length: Math.ceil(most / step) + 1 || 2 }, (_, i) => i * step);
}

function shortNumber(value: number): string {
  if (value >= 1e6) return `${round(value / 1e6)}M`;
  if (value >= 1e4) return `${round(value / 1e3)}k`;
  return String(Number(value.toPrecision(3)));
}

function grid(x1: number, y1: number, x2: number, y2: number): string {
  return `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke="#dddddd"/>`;
}

function text(x: number, y: number, words: string, anchor: 'start' | 'middle' | 'end'): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" fill="#222222">${escaped(words)}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(words: string): string {
  return words.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}
