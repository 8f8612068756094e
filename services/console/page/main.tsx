import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { SessionView } from '../src/views.js';
import { ask, type Problem, problemOf, useToken } from './ask.js';
import { BundlesPage } from './bundles.js';
import { FleetPage } from './fleet.js';
import { ProblemBox } from './parts.js';
import { PoolPage } from './pool.js';
import { QueuePage } from './queue.js';
import './style.css';
import { UsersPage } from './users.js';

const PAGES = {
  fleet: { name: 'Fleet', about: 'Services, bundles and times, live', view: FleetPage },
  users: { name: 'Users', about: 'What a user’s record holds, and where scores come from', view: UsersPage },
  pool: { name: 'Pool', about: 'How recent positions use the slots that users share', view: PoolPage },
  bundles: { name: 'Bundles', about: 'Which models serve, and which could', view: BundlesPage },
  queue: { name: 'Queue', about: 'Interactions on their way into records', view: QueuePage },
} as const;
type PageName = keyof typeof PAGES;

/** The page that the address names. An address never holds more than this name. */
function namedPage(): PageName {
  const name = location.hash.replace(/^#\//, '');
  return Object.hasOwn(PAGES, name) ? (name as PageName) : 'fleet';
}

function App() {
  const [session, setSession] = useState<SessionView>();
  const [problem, setProblem] = useState<Problem>();
  const [page, setPage] = useState<PageName>(namedPage());
  const heading = useRef<HTMLHeadingElement>(null);

  async function begin(token: string): Promise<void> {
    useToken(token);
    try {
      setSession(await ask<SessionView>('session'));
      setProblem(undefined);
    } catch (thrown) {
      setSession(undefined);
      setProblem(problemOf(thrown));
    }
  }
  useEffect(() => {
    void begin('');
    const turn = () => setPage(namedPage());
    addEventListener('hashchange', turn);
    return () => removeEventListener('hashchange', turn);
  }, []);
  const first = useRef(true);
  useEffect(() => {
    document.title = `${PAGES[page].name} – CollectiveKV console`;
    if (!first.current) heading.current?.focus();
    first.current = false;
  }, [page]);

  if (!session) return <SignIn problem={problem} begin={begin} />;
  const { name, about, view: View } = PAGES[page];
  return (
    <>
      <button type="button" class="skip" onClick={() => heading.current?.focus()}>
        Skip to the content
      </button>
      <header class="top">
        <span class="brand">
          <img src={new URL('./icon.svg', import.meta.url).href} alt="" width="24" height="24" /> CollectiveKV
        </span>
        <nav aria-label="Pages">
          {Object.entries(PAGES).map(([key, one]) => (
            <a key={key} href={`#/${key}`} aria-current={key === page ? 'page' : undefined}>
              {one.name}
            </a>
          ))}
        </nav>
        <span class="mode">{session.writes ? 'changes allowed' : 'read-only'}</span>
        {session.tokens ? (
          <button type="button" onClick={() => void begin('')}>
            Sign out
          </button>
        ) : null}
      </header>
      <main id="main">
        <h1 ref={heading} tabIndex={-1}>
          {name} <small>{about}</small>
        </h1>
        <View session={session} />
      </main>
    </>
  );
}

function SignIn({ problem, begin }: { problem: Problem | undefined; begin: (token: string) => Promise<void> }) {
  const field = useRef<HTMLInputElement>(null);
  const [tried, setTried] = useState(false);
  if (!problem) return <main class="sign-in" aria-busy="true" />;
  const asks = ['unauthenticated', 'permission_denied'].includes(problem.reason);
  return (
    <main class="sign-in">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          setTried(true);
          void begin(field.current?.value ?? '');
        }}
      >
        <h1>CollectiveKV console</h1>
        {asks ? (
          <label>
            Token with the role read or admin
            <input ref={field} type="password" autocomplete="off" spellcheck={false} required />
            <small>It stays in this page alone, until you reload or close it.</small>
          </label>
        ) : null}
        {tried || !asks ? <ProblemBox problem={problem} /> : null}
        <button type="submit" class="primary">
          {asks ? 'Sign in' : 'Try again'}
        </button>
      </form>
    </main>
  );
}

const root = document.getElementById('app');
if (root) {
  root.replaceChildren();
  render(<App />, root);
}
