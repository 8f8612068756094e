import type { PositionView, UserView } from '../src/views.js';
import { count, digits, time } from './format.js';
import { Id, Table } from './parts.js';

type Record = NonNullable<UserView['record']>;

/** Shows the newest positions of a record, newest first. */
export function HistoryTable({ record, groups }: { record: Record; groups: Readonly<{ [index: number]: number }> }) {
  const { fields, positions, positionCount } = record;
  const shown = fields.filter(({ kind }) => kind !== 'user');
  const hasItems = positions.some(({ itemId }) => itemId !== '');
  const hasOwn = positions.some(({ ownSize }) => ownSize !== null);
  const hasGroups = Object.keys(groups).length > 0;
  const mostOwn = Math.max(1e-9, ...positions.map(({ ownSize }) => ownSize ?? 0));
  const optional = <T,>(show: boolean, one: T): T[] => (show ? [one] : []);
  const head = [
    'Age',
    ...optional(hasItems, 'Item'),
    ...shown.map(({ name, kind }) => (kind === 'route' ? `Slot of ${name}` : name)),
    ...optional(hasOwn, 'User KV, size'),
    ...optional(hasGroups, 'Group'),
  ];
  const cellOf = (position: PositionView, field: Record['fields'][number]) => {
    const value = position.values[field.name] ?? 0;
    if (field.isTime) return time(value * 1_000);
    return field.kind === 'route' ? <Chip number={value} /> : digits(value);
  };
  return (
    <>
      <p class="quiet">
        Age 1 is the newest position. {hasItems ? '' : 'The rows of this bundle do not hold items. '}
        {hasGroups
          ? 'Attention reads the positions of a group as one.'
          : 'Explain an item to see the groups in which attention reads them.'}
      </p>
      <Table
        caption={`The newest ${count(positions.length)} of ${count(positionCount)} positions`}
        head={head}
        numbers={[0]}
        rows={positions.map((position) => [
          positionCount - position.index,
          ...optional(hasItems, position.itemId === '' ? <em>unknown</em> : <Id>{position.itemId}</Id>),
          ...shown.map((field) => cellOf(position, field)),
          ...optional(hasOwn, <Bar share={(position.ownSize ?? 0) / mostOwn} text={digits(position.ownSize)} />),
          ...optional(
            hasGroups,
            groups[position.index] === undefined ? '–' : <Chip number={groups[position.index] ?? 0} />,
          ),
        ])}
      />
    </>
  );
}

/** A number with a colour of its own, so that equal ones stand out. */
function Chip({ number }: { number: number }) {
  const hue = Math.round((number * 137.508) % 360);
  return (
    <span class="chip">
      <i style={{ background: `hsl(${hue} 60% 50%)` }} aria-hidden="true" />
      {count(number)}
    </span>
  );
}

function Bar({ share, text }: { share: number; text: string }) {
  return (
    <span class="bar">
      <i style={{ width: `${Math.round(60 * share)}px` }} aria-hidden="true" />
      {text}
    </span>
  );
}
