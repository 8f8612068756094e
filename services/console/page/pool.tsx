import { useState } from 'preact/hooks';
import type { PoolFieldView, PoolView, SessionView } from '../src/views.js';
import { ask } from './ask.js';
import { count, digits, duration, percent } from './format.js';
import { HeatMap, type Shown } from './heat-map.js';
import { Badge, Figures, Id, Panel, ProblemBox, Table, useAnswer } from './parts.js';

const LOOK_MS = 10_000;

/** Shows how recent positions use the slots of a pool. */
export function PoolPage(_: { session: SessionView }) {
  const [bundleId, setBundleId] = useState('');
  const { answer, problem } = useAnswer(() => ask<PoolView>('pool', { bundleId }), bundleId, LOOK_MS);
  return (
    <>
      <ProblemBox problem={problem} />
      {answer ? (
        <>
          <form class="lookup" onSubmit={(event) => event.preventDefault()}>
            <label>
              Bundle
              <select value={bundleId} onChange={(event) => setBundleId(event.currentTarget.value)}>
                <option value="">the active bundle</option>
                {answer.bundles.map(({ id, name, state }) => (
                  <option key={id} value={id}>
                    {name} ({state}, {id.slice(0, 8)})
                  </option>
                ))}
              </select>
            </label>
            <p class="quiet">
              Bundle <Id>{answer.bundleId}</Id>, encoding <Id>{answer.encodingId}</Id>. Recent positions are those of
              the last {duration(answer.windowS)} to {duration(2 * answer.windowS)}, as the updaters report them. This
              replica of the pool knows a part of them if there are several.
            </p>
          </form>
          {answer.fields.length === 0 ? <p>This bundle has no pool whose slots are counted.</p> : null}
          {answer.fields.map((field) => (
            <PoolField key={field.field} field={field} />
          ))}
        </>
      ) : null}
    </>
  );
}

function PoolField({ field }: { field: PoolFieldView }) {
  const [shown, setShown] = useState<Shown>('recent');
  const { recent, trained, drift, slotCount } = field;
  const unused = slotCount - recent.usedCount;
  const choices: readonly (readonly [Shown, string])[] = [
    ['recent', 'recent positions'],
    ...(trained
      ? ([
          ['trained', 'training'],
          ['change', 'change since training'],
        ] as const)
      : []),
  ];
  return (
    <Panel title={`Slots of ${field.field}`} aside={<DriftBadge field={field} />}>
      <Figures
        of={[
          [
            'Recent positions',
            count(recent.positionCount),
            trained ? `${count(trained.positionCount)} in training` : '',
          ],
          [
            'Slots in use',
            `${count(recent.usedCount)} of ${count(slotCount)}`,
            trained ? `${count(trained.usedCount)} in training` : '',
          ],
          [
            'Unused slots',
            count(unused),
            drift ? `${count(drift.expectedUnusedCount)} if positions were those of training` : '',
          ],
          [
            'Entropy',
            `${digits(recent.entropyBits)} bits`,
            trained ? `${digits(trained.entropyBits)} in training` : '',
          ],
          ['Evenly used slots', digits(recent.perplexity), 'with the same entropy'],
          [
            'Drift',
            drift ? digits(drift.distance) : '–',
            drift ? `chance stays below ${digits(drift.bound)}` : 'not known',
          ],
        ]}
      />
      <fieldset class="choices">
        <legend>The map shows</legend>
        {choices.map(([value, name]) => (
          <label key={value}>
            <input
              type="radio"
              name={`shown-${field.field}`}
              checked={shown === value}
              onChange={() => setShown(value)}
            />{' '}
            {name}
          </label>
        ))}
      </fieldset>
      <HeatMap field={field} shown={shown} />
      <Ranks field={field} />
    </Panel>
  );
}

function DriftBadge({ field: { drift, trained } }: { field: PoolFieldView }) {
  if (!trained) return <Badge kind="plain">no counts of training</Badge>;
  if (!drift) return <Badge kind="plain">no recent positions</Badge>;
  return drift.distance > drift.bound ? (
    <Badge kind="warn">differs from training by more than chance</Badge>
  ) : (
    <Badge kind="good">as in training</Badge>
  );
}

/** The share of positions by rank of their slots. */
function Ranks({ field: { recent, trained, field } }: { field: PoolFieldView }) {
  const groups = Math.max(recent.rankShares.length, trained?.rankShares.length ?? 0);
  const nameOf = (i: number) => (i < 2 ? `${i + 1}` : `${count(2 ** (i - 1) + 1)} to ${count(2 ** i)}`);
  const bar = (share: number, kind: string) => (
    <span class="bar">
      <i class={kind} style={{ width: `${Math.round(160 * share)}px` }} aria-hidden="true" />
      {percent(share)}
    </span>
  );
  return (
    <details>
      <summary>Share of positions by rank of the slot</summary>
      <Table
        caption={`Slots of ${field} by rank, the most used first`}
        head={['Rank', 'Recent positions', ...(trained ? ['Training'] : [])]}
        rows={Array.from({ length: groups }, (_, i) => [
          nameOf(i),
          bar(recent.rankShares[i] ?? 0, 'now'),
          ...(trained ? [bar(trained.rankShares[i] ?? 0, 'then')] : []),
        ])}
      />
    </details>
  );
}
