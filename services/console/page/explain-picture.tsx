import type { ExplainedItemView, ExplainView } from '../src/views.js';
import { count, percent, signed } from './format.js';
import { Id, Table } from './parts.js';

const WIDTH = 900;
const HEIGHT = 190;
const PLOT = { left: 64, right: 892, top: 14, bottom: 160 };

/** Shows what the score of an item comes from: a sum, a picture and a table. */
export function ExplainedItem(props: {
  item: ExplainedItemView;
  positionCount: number;
  method: ExplainView['method'];
}) {
  const { item, positionCount, method } = props;
  const attention = method === 'attention';
  return (
    <article class="explained">
      <h3>
        <Id>{item.itemId}</Id> score {item.score.toFixed(4)}
      </h3>
      {attention ? <Sum item={item} /> : <p>Without history: {item.scoreWithoutHistory.toFixed(4)}</p>}
      {attention && item.runs.shared.length > 0 ? <Bars item={item} positionCount={positionCount} /> : null}
      <details>
        <summary>The positions that matter most</summary>
        <PositionTable {...props} />
      </details>
    </article>
  );
}

/** The score as a sum of its parts. */
function Sum({ item }: { item: ExplainedItemView }) {
  const most = Math.max(Math.abs(item.shared), Math.abs(item.own), Math.abs(item.scoreWithoutHistory), 1e-9);
  const part = (name: string, kind: string, value: number) => (
    <div>
      <dt>{name}</dt>
      <dd>
        <i class={`part ${kind}`} style={{ width: `${(100 * Math.abs(value)) / most}%` }} aria-hidden="true" />
        <b>{signed(value)}</b>
      </dd>
    </div>
  );
  return (
    <dl class="sum">
      {part('without history', 'base', item.scoreWithoutHistory)}
      {part('shared pool rows', 'shared', item.shared)}
      {part('the user’s own values', 'own', item.own)}
    </dl>
  );
}

/** A bar for each run of positions, oldest first: the shared part and the user's own, above or below zero. */
function Bars({ item, positionCount }: { item: ExplainedItemView; positionCount: number }) {
  const { shared, own, size } = item.runs;
  const reach = (sign: number) =>
    Math.max(...shared.map((one, i) => Math.max(0, sign * one) + Math.max(0, sign * (own[i] ?? 0))), 0);
  const [up, down] = [reach(1), reach(-1)];
  const span = Math.max(up + down, 1e-9);
  const y = (value: number) => PLOT.top + ((up - value) / span) * (PLOT.bottom - PLOT.top);
  const step = (PLOT.right - PLOT.left) / shared.length;
  const bars = shared.flatMap((ofPool, i) => {
    const ofUser = own[i] ?? 0;
    const x = PLOT.left + i * step;
    const base = Math.sign(ofPool) === Math.sign(ofUser) ? ofPool : 0;
    return [
      <Bar key={`s${i}`} kind="shared" x={x} width={step} from={y(0)} to={y(ofPool)} />,
      <Bar key={`o${i}`} kind="own" x={x} width={step} from={y(base)} to={y(base + ofUser)} />,
    ];
  });
  const place = (index: number) => PLOT.left + ((index + 0.5) / Math.max(positionCount, 1)) * (PLOT.right - PLOT.left);
  const each = size === 1 ? 'a bar is a position' : `a bar is ${count(size)} positions`;
  const about = `${item.itemId}: shared pool rows add ${signed(item.shared)}, the user's own values ${signed(item.own)}`;
  return (
    <figure class="picture">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={about}>
        {bars}
        <line class="axis" x1={PLOT.left} x2={PLOT.right} y1={y(0)} y2={y(0)} />
        {item.positions.map(({ index }) => (
          <path key={index} class="mark" d={`M${place(index)} ${PLOT.bottom + 5}l4 7h-8z`} />
        ))}
        {up > 0 ? (
          <text x={PLOT.left - 8} y={PLOT.top + 8} text-anchor="end">
            +{up.toPrecision(2)}
          </text>
        ) : null}
        <text x={PLOT.left - 8} y={y(0) + 4} text-anchor="end">
          0
        </text>
        {down > span / 10 ? (
          <text x={PLOT.left - 8} y={PLOT.bottom} text-anchor="end">
            −{down.toPrecision(2)}
          </text>
        ) : null}
        <text x={PLOT.left} y={HEIGHT - 4}>
          oldest
        </text>
        <text x={(PLOT.left + PLOT.right) / 2} y={HEIGHT - 4} text-anchor="middle">
          {each}; triangles mark the positions of the table
        </text>
        <text x={PLOT.right} y={HEIGHT - 4} text-anchor="end">
          newest
        </text>
      </svg>
      <figcaption class="legend">
        <span>
          <i class="part shared" aria-hidden="true" /> shared pool rows
        </span>
        <span>
          <i class="part own" aria-hidden="true" /> the user’s own values
        </span>
      </figcaption>
    </figure>
  );
}

function Bar(props: { kind: string; x: number; width: number; from: number; to: number }) {
  const { kind, x, width, from, to } = props;
  if (from === to) return null;
  const [top, height] = [Math.min(from, to), Math.abs(to - from)];
  return <rect class={kind} x={x} y={top} width={Math.max(width * 0.86, 0.6)} height={Math.max(height, 0.3)} />;
}

function PositionTable({ item, positionCount, method }: Parameters<typeof ExplainedItem>[0]) {
  const values = (of: Readonly<Record<string, number>>) =>
    Object.entries(of)
      .map(([field, value]) => `${field} ${Number.isInteger(value) ? value : value.toPrecision(3)}`)
      .join(', ');
  if (item.positions.length === 0) return <p>There are no positions: the score comes from the item alone.</p>;
  if (method !== 'attention') {
    return (
      <Table
        caption={`${item.itemId}: the newest positions, left out one by one`}
        head={['Age', 'Item', 'Row', 'Score without it', 'Difference']}
        numbers={[0, 3, 4]}
        rows={item.positions.map((one) => [
          positionCount - one.index,
          <Id>{one.itemId || '–'}</Id>,
          values(one.values),
          one.scoreWithout.toFixed(4),
          signed(item.score - one.scoreWithout),
        ])}
      />
    );
  }
  return (
    <Table
      caption={`${item.itemId}: the positions that add or take most`}
      head={['Age', 'Item', 'Row', 'Group', 'Attention', 'Shared adds', 'Own adds', 'Score without it']}
      numbers={[0, 4, 5, 6, 7]}
      rows={item.positions.map((one) => [
        positionCount - one.index,
        <Id>{one.itemId || '–'}</Id>,
        values(one.values),
        one.group === null ? '–' : `${one.group}, of ${count(one.groupSize)} positions`,
        percent(one.attention),
        signed(one.shared),
        signed(one.own),
        one.scoreWithout.toFixed(4),
      ])}
    />
  );
}
