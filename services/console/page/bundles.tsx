import { useState } from 'preact/hooks';
import type { BundlesView, BundleView, ChangeView, SessionView } from '../src/views.js';
import { ask } from './ask.js';
import { count, percent } from './format.js';
import { Badge, Confirm, Figures, Id, Panel, ProblemBox, useAnswer } from './parts.js';

const LOOK_MS = 5_000;
const KINDS: Readonly<Record<string, 'good' | 'warn' | 'plain'>> = { active: 'good', canary: 'warn', warming: 'warn' };

type Change = { readonly kind: 'activate'; readonly bundle: BundleView } | { readonly kind: 'rollback' };

/** Shows the bundles, and switches them if changes are allowed. */
export function BundlesPage({ session }: { session: SessionView }) {
  const { answer, problem, again } = useAnswer(() => ask<BundlesView>('bundles'), 'bundles', LOOK_MS);
  const [change, setChange] = useState<Change>();
  return (
    <>
      <ProblemBox problem={problem} />
      {session.writes ? (
        <p class="buttons">
          <button type="button" class="danger" onClick={() => setChange({ kind: 'rollback' })}>
            Roll back…
          </button>
        </p>
      ) : (
        <p class="quiet">
          This page changes nothing. <code>CKV_CONSOLE_WRITES=true</code> allows it to activate and roll back, with a
          token of the role admin; so does <code>npx ckv bundle</code>.
        </p>
      )}
      {answer?.bundles.map((bundle) => (
        <Bundle
          key={bundle.id}
          bundle={bundle}
          onActivate={session.writes ? () => setChange({ kind: 'activate', bundle }) : undefined}
        />
      ))}
      {change ? (
        <Switch
          change={change}
          tokens={session.tokens}
          onClose={() => {
            setChange(undefined);
            again();
          }}
        />
      ) : null}
    </>
  );
}

function Bundle({ bundle, onActivate }: { bundle: BundleView; onActivate: (() => void) | undefined }) {
  const { id, name, family, encodingId, state, shareBp, followers, metrics } = bundle;
  const loaded = followers.filter((one) => one.loaded).length;
  const waits = followers.filter((one) => !one.loaded).map((one) => `${one.service} ${one.replicaId}`);
  return (
    <Panel
      title={name}
      aside={
        <span class="buttons">
          <Badge kind={KINDS[state] ?? 'plain'}>
            {state}
            {shareBp > 0 ? `, ${percent(shareBp / 10_000)} of the users` : ''}
          </Badge>
          {onActivate && state !== 'active' ? (
            <button type="button" onClick={onActivate} aria-label={`Activate ${name} ${id}`}>
              Activate…
            </button>
          ) : null}
        </span>
      }
    >
      <p class="quiet">
        Bundle <Id>{id}</Id>, encoding <Id>{encodingId}</Id>, family {family}, {count(bundle.itemCount)} items, at most{' '}
        {count(bundle.maxPositions)} positions
      </p>
      <Figures
        of={[
          ['Coverage', <Coverage bundle={bundle} />, coverageNote(bundle)],
          [
            'Loaded by',
            followers.length === 0 ? '–' : `${loaded} of ${followers.length} replicas`,
            waits.length === 0 ? servicesOf(bundle) : `not yet: ${waits.join(', ')}`,
          ],
          ...figuresOf(metrics),
        ]}
      />
    </Panel>
  );
}

/** The share of rank requests whose users have a warm record under the bundle, as a bar. */
function Coverage({ bundle: { coverage, sharesActiveEncoding } }: { bundle: BundleView }) {
  if (sharesActiveEncoding) return <>all records</>;
  if (!coverage || coverage.sampledCount === 0) return <>unknown</>;
  const share = coverage.warmCount / coverage.sampledCount;
  return (
    <>
      {percent(share)}
      <progress max={1} value={share} aria-label={`Coverage ${percent(share)}`} />
    </>
  );
}

function coverageNote({ coverage, sharesActiveEncoding }: BundleView): string {
  if (sharesActiveEncoding) return 'it reads the records of the active bundle';
  if (!coverage) return 'other services do not load it';
  return coverage.sampledCount === 0 ? 'no requests were looked at yet' : `of ${count(coverage.sampledCount)} requests`;
}

function servicesOf({ followers }: BundleView): string {
  return [...new Set(followers.map(({ service }) => service))].sort().join(', ');
}

/** Returns the training's figures that people compare. */
function figuresOf(metrics: BundleView['metrics']): (readonly [string, string, string])[] {
  const names = [
    ['AUC in training', 'auc', 'fullAuc'],
    ['GAUC in training', 'gauc', 'fullGauc'],
  ] as const;
  return names.flatMap(([name, of, full]) => {
    const [value, whole] = [metrics[of], metrics[full]];
    if (value === undefined) return [];
    return [[name, value.toFixed(4), whole === undefined ? '' : `${whole.toFixed(4)} of the full model`] as const];
  });
}

function Switch({ change, tokens, onClose }: { change: Change; tokens: boolean; onClose: () => void }) {
  const [force, setForce] = useState(false);
  const activates = change.kind === 'activate';
  const request = activates ? { bundleId: change.bundle.id, force } : { force };
  return (
    <Confirm
      title={activates ? `Activate ${change.bundle.name}?` : 'Roll back?'}
      action={activates ? 'Activate' : 'Roll back'}
      tokens={tokens}
      onClose={onClose}
      work={async (token) => (await ask<ChangeView>(`bundles/${change.kind}`, request, token)).done}
    >
      <p>
        {activates ? (
          <>
            All users will be ranked by bundle <Id>{change.bundle.id}</Id>. The present one stays loaded, so that a
            rollback is quick.
          </>
        ) : (
          'If there are canaries, this ends them. Otherwise the bundle that was active before serves again.'
        )}
      </p>
      <label class="check">
        <input type="checkbox" checked={force} onChange={(event) => setForce(event.currentTarget.checked)} /> Also if
        its coverage is too low
      </label>
    </Confirm>
  );
}
