import type { PoolFieldView } from '../src/views.js';
import { count, percent } from './format.js';

/** What a map shows. */
export type Shown = 'recent' | 'trained' | 'change';

const CELL = 16;
const COLUMNS = 64;
const STEPS = 6;

/** Draws the use of slots as a map: a cell for each slot, or for a run of slots. Darker cells have more positions. */
export function HeatMap({ field, shown }: { field: PoolFieldView; shown: Shown }) {
  const { recentPositions, trainedPositions, usedSlots, runSlots, slotCount } = field;
  const cells = recentPositions.length;
  const columns = Math.min(COLUMNS, Math.max(1, cells));
  const rows = Math.ceil(cells / columns);
  const recent = shares(recentPositions);
  const trained = shares(trainedPositions);
  const values = shown === 'trained' ? trained : recent;
  const most = Math.max(...values, 1e-12);
  const unused = usedSlots.filter((used) => used === 0).length;
  const what = runSlots === 1 ? 'a slot' : `${count(runSlots)} slots`;
  const nameOf = (cell: number) => {
    const first = cell * runSlots;
    const last = Math.min(slotCount, first + runSlots) - 1;
    const slots = first === last ? `slot ${count(first)}` : `slots ${count(first)} to ${count(last)}`;
    const used = runSlots === 1 ? '' : `, ${count(usedSlots[cell])} of them used`;
    const then = trainedPositions.length > 0 ? `; ${percent(trained[cell] ?? 0)} in training` : '';
    return `${slots}: ${count(recentPositions[cell])} recent positions, ${percent(recent[cell] ?? 0)}${used}${then}`;
  };
  const classOf = (cell: number) => {
    if (shown === 'change') return changeClass(recent[cell] ?? 0, trained[cell] ?? 0);
    const value = values[cell] ?? 0;
    return value === 0 ? 'unused' : `heat-${stepOf(value / most)}`;
  };
  const about =
    cells === 0
      ? 'The pool sends no counts by slot'
      : `Map of ${count(slotCount)} slots, a cell for ${what}: ${count(unused)} of ${count(cells)} cells without recent positions`;
  return (
    <figure class="picture heat">
      <svg viewBox={`0 0 ${columns * CELL} ${Math.max(1, rows) * CELL}`} role="img" aria-label={about}>
        {recentPositions.map((_, cell) => (
          <rect
            key={cell}
            class={classOf(cell)}
            x={(cell % columns) * CELL + 1}
            y={Math.floor(cell / columns) * CELL + 1}
            width={CELL - 2}
            height={CELL - 2}
            rx="2"
          >
            <title>{nameOf(cell)}</title>
          </rect>
        ))}
      </svg>
      <figcaption class="legend">
        <span>A cell is {what}, in the order of their numbers.</span>
        {shown === 'change' ? (
          <>
            <Key kind="fell" name="less than half of training" />
            <Key kind="same" name="about as in training" />
            <Key kind="rose" name="more than twice" />
            <Key kind="unused" name="in neither" />
          </>
        ) : (
          <>
            <Key kind="unused" name="no positions" />
            <span>
              {Array.from({ length: STEPS }, (_, i) => (
                <i key={i} class={`key heat-${i}`} aria-hidden="true" />
              ))}{' '}
              few to many, up to {percent(most)}
            </span>
          </>
        )}
      </figcaption>
    </figure>
  );
}

function Key({ kind, name }: { kind: string; name: string }) {
  return (
    <span>
      <i class={`key ${kind}`} aria-hidden="true" /> {name}
    </span>
  );
}

function shares(counts: readonly number[]): number[] {
  const sum = counts.reduce((total, one) => total + one, 0);
  return counts.map((one) => (sum === 0 ? 0 : one / sum));
}

/** Returns the step of a colour: each is for twice the positions of the one before. */
function stepOf(ofMost: number): number {
  return Math.max(0, Math.min(STEPS - 1, STEPS - 1 + Math.ceil(Math.log2(ofMost))));
}

function changeClass(now: number, then: number): string {
  if (now === 0 && then === 0) return 'unused';
  if (now > 2 * then) return 'rose';
  return now < then / 2 ? 'fell' : 'same';
}
