import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { FleetPoint } from '../src/views.js';
import { digits } from './format.js';

/** One line over time. */
export interface Line {
  readonly name: string;
  readonly of: (point: FleetPoint) => number | null;
  /** Which of the page's colours. */
  readonly tone: 1 | 2 | 3;
}

const HEIGHT = 170;
const DASHES: Readonly<Record<Line['tone'], number[]>> = { 1: [], 2: [6, 3], 3: [2, 3] };

/** Draws lines over time, with their latest values as text. */
export function TimeLines(props: {
  title: string;
  unit: string;
  points: readonly FleetPoint[];
  lines: readonly Line[];
}) {
  const { title, unit, points, lines } = props;
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const table: uPlot.AlignedData = [
    points.map(({ atMs }) => atMs / 1_000),
    ...lines.map(({ of }) => points.map((point) => of(point))),
  ];
  const latest = lines.map(({ of }) => points.reduce<number | null>((last, point) => of(point) ?? last, null));

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(optionsOf(lines, element), table, element);
    };
    draw();
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', draw);
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    return () => {
      scheme.removeEventListener('change', draw);
      resized.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, []);
  useEffect(() => plot.current?.setData(table), [points]);

  const text = lines.map(({ name }, i) => `${name} ${digits(latest[i])} ${unit}`).join(', ');
  return (
    <figure>
      <figcaption>
        <strong>{title}</strong>, {unit}
        <span class="legend">
          {lines.map(({ name, tone }, i) => (
            <span key={name}>
              <i class={`line tone-${tone}`} aria-hidden="true" /> {name} <b>{digits(latest[i])}</b>
            </span>
          ))}
        </span>
      </figcaption>
      <div ref={box} role="img" aria-label={`${title} over time. Latest: ${text}`} />
    </figure>
  );
}

function optionsOf(lines: readonly Line[], element: HTMLElement): uPlot.Options {
  const style = getComputedStyle(element);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const axis: uPlot.Axis = {
    stroke: color('--quiet'),
    grid: { stroke: color('--line'), width: 1 },
    ticks: { stroke: color('--line'), width: 1 },
    font: '12px system-ui, sans-serif',
  };
  return {
    width: Math.max(element.clientWidth, 200),
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] } },
    axes: [
      {
        ...axis,
        space: 80,
        size: 30,
        values: (_, ticks) => ticks.map((tick) => new Date(tick * 1_000).toLocaleTimeString('en-GB')),
      },
      { ...axis, size: 52, values: (_, ticks) => ticks.map((tick) => digits(tick)) },
    ],
    series: [
      {},
      ...lines.map(({ name, tone }) => ({
        label: name,
        stroke: color(`--tone-${tone}`),
        width: 2,
        dash: DASHES[tone],
        points: { show: false },
        spanGaps: true,
      })),
    ],
  };
}
