import { type LineChart, lineChart, type Series } from './line-chart.js';
import type { Row } from './results.js';

/** A plot of docs/benchmarks.md. */
export interface Plot {
  /** File name. */
  readonly file: string;
  readonly title: string;
  readonly svg: string;
}

/** An arm's index here is its colour in all plots. */
const COLOURS = [
  'factored',
  'full_fp16',
  'full_fp32',
  'recompute',
  'bare graph',
  'pool',
  'recompute_clusters',
  'factored, unsplit',
  'factored, unary',
  'factored, by user-cache',
];

/** Draws the plots for which there are figures. */
export function plotsOf(rows: readonly Row[]): Plot[] {
  const bareRate = rows.find(({ name }) => name === 'bare_graph_rate')?.value;
  const inFlight = new Set(pointsOf(rows, 'rank_rate', 'in flight').map(([x]) => x));
  const bareLine = bareRate === undefined ? [] : [...inFlight].map((x) => [x, bareRate] as const);
  const plots: readonly (readonly [file: string, chart: LineChart])[] = [
    [
      'latency-by-length.svg',
      {
        title: 'Rank p50 by history length, one request in flight',
        xLabel: 'positions',
        yLabel: 'ms',
        xLog: true,
        yLog: true,
        series: [
          ...seriesBy(rows, 'rank_p50', 'arm', 'positions').filter(({ name }) => !name.startsWith('factored,')),
          { name: 'bare graph', points: pointsOf(rows, 'bare_graph_p50', 'positions') },
        ],
      },
    ],
    [
      'bytes-by-length.svg',
      {
        title: 'Bytes per user in Redis, key included',
        xLabel: 'positions',
        yLabel: 'bytes',
        xLog: true,
        yLog: true,
        series: seriesBy(rows, 'bytes_per_user', 'arm', 'positions'),
      },
    ],
    [
      'throughput-by-concurrency.svg',
      {
        title: 'Answers per second by requests in flight',
        xLabel: 'requests in flight',
        yLabel: 'answers per second',
        series: [...seriesBy(rows, 'rank_rate', 'arm', 'in flight'), { name: 'bare graph', points: bareLine }],
      },
    ],
    [
      'latency-by-load.svg',
      {
        title: 'Latency by offered load, open loop',
        xLabel: 'offered requests per second',
        yLabel: 'ms',
        yLog: true,
        series: seriesBy(rows, 'open_loop_latency', 'percentile', 'offered /s'),
      },
    ],
  ];
  return plots.flatMap(([file, chart]) => {
    const drawn = chart.series
      .filter(({ points }) => points.length > 0)
      .map((one, i) => ({ ...one, colour: COLOURS.includes(one.name) ? COLOURS.indexOf(one.name) : i }));
    return drawn.length === 0 ? [] : [{ file, title: chart.title, svg: lineChart({ ...chart, series: drawn }) }];
  });
}

/** Returns a line for each value of a parameter. */
function seriesBy(rows: readonly Row[], name: string, parameter: string, x: string): Series[] {
  const own = rows.filter((row) => row.name === name);
  const values = [...new Set(own.map(({ params }) => String(params[parameter])))];
  return values.map((value) => ({
    name: value,
    points: pointsOf(
      own.filter(({ params }) => String(params[parameter]) === value),
      name,
      x,
    ),
  }));
}

function pointsOf(rows: readonly Row[], name: string, x: string): [number, number][] {
  return rows
    .filter((row) => row.name === name)
    .map(({ params, value }): [number, number] => [Number(params[x]), value])
    .sort(([a], [b]) => a - b);
}
