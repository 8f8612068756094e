import { useRef, useState } from 'preact/hooks';
import type { BundlesView, ExplainView, RankView, SessionView, UserView } from '../src/views.js';
import { ask, type Problem, problemOf } from './ask.js';
import { ExplainedItem } from './explain-picture.js';
import { bytes, count, digits, duration, ms, percent, time } from './format.js';
import { HistoryTable } from './history-table.js';
import { Badge, Figures, Id, Panel, ProblemBox, Table, useAnswer } from './parts.js';

const MAX_EXPLAINED = 10;

/** What the page found of one user. */
interface Found {
  readonly user: UserView | undefined;
  readonly rank: RankView | undefined;
  readonly explained: ExplainView | undefined;
}

/** Shows a user's history, and scores items for this user. */
export function UsersPage(_: { session: SessionView }) {
  const form = useRef<HTMLFormElement>(null);
  const bundles = useAnswer(() => ask<BundlesView>('bundles'), 'bundles');
  const [found, setFound] = useState<Found>({ user: undefined, rank: undefined, explained: undefined });
  const [problem, setProblem] = useState<Problem>();
  const [busy, setBusy] = useState('');

  /** Runs a request with what the form holds. */
  async function run(name: string, work: (typed: Typed) => Promise<Partial<Found>>): Promise<void> {
    const typed = typedIn(form.current);
    if (!typed) return;
    setBusy(name);
    setProblem(undefined);
    try {
      const next = await work(typed);
      setFound((before) => ({ ...before, ...next }));
    } catch (thrown) {
      setProblem(problemOf(thrown));
    }
    setBusy('');
  }
  const show = () =>
    run('show', async ({ userId, bundleId, limit }) => {
      const user = await ask<UserView>('user', { userId, bundleId, limit });
      return { user, rank: undefined, explained: undefined };
    });
  const score = () =>
    run('score', async ({ itemIds, userId, bundleId }) => {
      return { rank: await ask<RankView>('score', { userId, bundleId, itemIds }), explained: undefined };
    });
  const explain = () =>
    run('explain', async ({ itemIds, userId, bundleId, limit }) => {
      const [user, explained] = await Promise.all([
        ask<UserView>('user', { userId, bundleId, limit }),
        ask<ExplainView>('explain', { userId, bundleId, itemIds: itemIds.slice(0, MAX_EXPLAINED) }),
      ]);
      return { user, explained, rank: undefined };
    });
  /** Fills in the newest items of the history. */
  const takeItems = () => {
    const items = found.user?.record?.positions.flatMap(({ itemId }) => (itemId === '' ? [] : [itemId])) ?? [];
    const field = form.current?.elements.namedItem('items') as HTMLTextAreaElement | null;
    if (field) field.value = [...new Set(items)].slice(0, 5).join(' ');
  };
  const { user, rank, explained } = found;
  return (
    <>
      <Panel
        title="Look a user up"
        aside={<small>ids are sent in requests’ bodies, and are in no address and no log</small>}
      >
        <form
          ref={form}
          class="lookup"
          onSubmit={(event) => {
            event.preventDefault();
            void show();
          }}
        >
          <label>
            User id
            <input name="user" autocomplete="off" spellcheck={false} required maxLength={256} />
          </label>
          <label>
            Bundle
            <select name="bundle">
              <option value="">the one that serves the user</option>
              {bundles.answer?.bundles.map(({ id, name, state }) => (
                <option key={id} value={id}>
                  {name} ({state}, {id.slice(0, 8)})
                </option>
              ))}
            </select>
          </label>
          <label>
            Positions to show
            <select name="limit">
              <option value="50">newest 50</option>
              <option value="200">newest 200</option>
              <option value="1000">newest 1,000</option>
            </select>
          </label>
          <button type="submit" class="primary" disabled={busy !== ''}>
            {busy === 'show' ? 'Looking…' : 'Show history'}
          </button>
          <label class="wide">
            Items to score, with spaces or commas between them
            <textarea name="items" rows={2} autocomplete="off" spellcheck={false} />
          </label>
          <div class="buttons">
            <button type="button" onClick={takeItems} disabled={!user?.record}>
              Take items of the history
            </button>
            <button type="button" onClick={score} disabled={busy !== ''}>
              {busy === 'score' ? 'Scoring…' : 'Score'}
            </button>
            <button type="button" class="primary" onClick={explain} disabled={busy !== ''}>
              {busy === 'explain' ? 'Explaining…' : `Explain (at most ${MAX_EXPLAINED})`}
            </button>
          </div>
        </form>
        <ProblemBox problem={problem} />
      </Panel>
      <div aria-live="polite">
        {rank ? <Scores rank={rank} /> : null}
        {explained ? <Explanation explained={explained} /> : null}
        {user ? <History user={user} groups={explained?.groups ?? {}} /> : null}
      </div>
    </>
  );
}

interface Typed {
  readonly userId: string;
  readonly bundleId: string;
  readonly limit: number;
  readonly itemIds: string[];
}

/** Returns what a form holds; undefined if it is not complete, which the browser then says. */
function typedIn(form: HTMLFormElement | null): Typed | undefined {
  if (!form?.reportValidity()) return undefined;
  const values = new FormData(form);
  const text = (name: string) => String(values.get(name) ?? '');
  const itemIds = text('items')
    .split(/[\s,]+/)
    .filter((id) => id !== '');
  return { userId: text('user').trim(), bundleId: text('bundle'), limit: Number(text('limit')), itemIds };
}

function Answer({ answer }: { answer: RankView['answer'] }) {
  const rung = answer.rungReason === '' ? answer.rung : `${answer.rung}: ${answer.rungReason}`;
  return (
    <p>
      <Badge kind={answer.rung === 'full' ? 'good' : 'warn'}>{rung.replaceAll('_', ' ')}</Badge>{' '}
      {answer.coldUser ? 'the user has no record yet' : `${count(answer.positionCount)} positions`}, bundle{' '}
      <Id>{answer.bundleId}</Id>
      {answer.canaryShareBp > 0 ? `, a canary for ${percent(answer.canaryShareBp / 10_000)} of the users` : ''},{' '}
      {ms(answer.tookMs)}
      {answer.unknownItems > 0 ? `; the bundle does not know ${answer.unknownItems} of the items` : ''}
    </p>
  );
}

function Scores({ rank }: { rank: RankView }) {
  return (
    <Panel title="Scores">
      <Answer answer={rank.answer} />
      <Table
        caption="Items by score, best first"
        head={['Rank', 'Item', 'Score']}
        numbers={[0, 2]}
        rows={rank.ranked.map(({ itemId, score }, i) => [i + 1, <Id>{itemId}</Id>, score.toFixed(6)])}
      />
    </Panel>
  );
}

function Explanation({ explained }: { explained: ExplainView }) {
  const { answer, items, method, parts, groupCount } = explained;
  const heads = parts.map(({ name, headCount }) => `${name} (${headCount} heads)`).join(', ');
  return (
    <Panel title="Where the scores come from">
      <Answer answer={answer} />
      {method === 'attention' ? (
        <p class="quiet">
          Bars show what positions add to a score, from the oldest to the newest: the part of shared pool rows, and the
          part of the user’s own values. Together with the score without history they are the score.{' '}
          {`Attention: ${heads}; it reads the positions in ${count(groupCount)} groups.`}
        </p>
      ) : (
        <p class="quiet">
          The bundle has no explain graph, or ranking does not load it. So only the newest positions are left out, one
          by one, and the score is computed again.
        </p>
      )}
      {items.map((item) => (
        <ExplainedItem key={item.itemId} item={item} positionCount={answer.positionCount} method={method} />
      ))}
    </Panel>
  );
}

function History({ user, groups }: { user: UserView; groups: Readonly<Record<number, number>> }) {
  const { record, encodingId, bundleId, bundleName } = user;
  if (!record) {
    return (
      <Panel title="History">
        <p>
          This user has no record of encoding <Id>{encodingId}</Id>, which bundle {bundleName} (<Id>{bundleId}</Id>)
          reads. Scores come from the items alone.
        </p>
      </Panel>
    );
  }
  const distinct = Object.entries(record.distinctSlots).map(([field, slots]) => `${count(slots)} of ${field}`);
  return (
    <Panel
      title="History"
      aside={
        <small>
          bundle {bundleName} <Id>{bundleId}</Id>, encoding <Id>{encodingId}</Id>
        </small>
      }
    >
      <Figures
        of={[
          ['Positions', count(record.positionCount), `of at most ${count(record.maxPositions)}`],
          ['Interactions in total', count(record.lifetimeCount)],
          ['Newest interaction', ageOf(record.lastEventMs), time(record.lastEventMs)],
          [
            'Bytes',
            bytes(record.bytes),
            `${digits((100 * record.bytes) / Math.max(1, record.fullBytes))} % of a full cache, ${bytes(record.fullBytes)}`,
          ],
          ['Distinct slots', distinct.join(', ') || '–'],
        ]}
      />
      <HistoryTable record={record} groups={groups} />
    </Panel>
  );
}

function ageOf(atMs: number): string {
  return atMs === 0 ? '–' : `${duration(Math.max(0, (Date.now() - atMs) / 1_000))} ago`;
}
