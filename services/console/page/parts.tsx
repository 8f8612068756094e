import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { type Problem, problemOf } from './ask.js';

/** What is known of a request's answer. */
export interface Asked<T> {
  readonly answer: T | undefined;
  readonly problem: Problem | undefined;
  /** Asks again. */
  readonly again: () => void;
}

/**
 * Asks when the page is shown, when `key` changes, and every `everyMs` while the page is visible. A failure keeps the
 * last answer.
 */
export function useAnswer<T>(work: () => Promise<T>, key: string, everyMs = 0): Asked<T> {
  const [state, setState] = useState<{ answer?: T | undefined; problem?: Problem | undefined }>({});
  const [round, setRound] = useState(0);
  useEffect(() => {
    let over = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = async () => {
      if (document.visibilityState === 'visible') {
        try {
          const answer = await work();
          if (!over) setState({ answer });
        } catch (thrown) {
          if (!over) setState((before) => ({ ...before, problem: problemOf(thrown) }));
        }
      }
      if (!over && everyMs > 0) timer = setTimeout(look, everyMs);
    };
    setState((before) => ({ answer: before.answer }));
    void look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [key, everyMs, round]);
  return { answer: state.answer, problem: state.problem, again: () => setRound(round + 1) };
}

/** Shows a failure. */
export function ProblemBox({ problem }: { problem: Problem | undefined }) {
  if (!problem) return null;
  return (
    <div class="problem" role="alert">
      <strong>{problem.reason.replaceAll('_', ' ')}</strong> {problem.message}
    </div>
  );
}

/** A part of a page with a heading. */
export function Panel(props: { title: string; aside?: ComponentChildren; children: ComponentChildren }) {
  return (
    <section class="panel">
      <header>
        <h2>{props.title}</h2>
        {props.aside}
      </header>
      {props.children}
    </section>
  );
}

/** Figures in boxes, each with a name. */
export function Figures({ of }: { of: readonly (readonly [string, ComponentChildren, string?])[] }) {
  return (
    <dl class="figures">
      {of.map(([name, value, note]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            {value}
            {note ? <small>{note}</small> : null}
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** A table that scrolls by itself on narrow screens. */
export function Table(props: {
  caption: string;
  head: readonly string[];
  rows: readonly (readonly ComponentChildren[])[];
  /** Columns of numbers, from 0. */
  numbers?: readonly number[];
}) {
  const kind = (column: number) => (props.numbers?.includes(column) ? 'number' : undefined);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
    <section class="scrolls" aria-label={props.caption} tabIndex={0}>
      <table>
        <caption>{props.caption}</caption>
        <thead>
          <tr>
            {props.head.map((name, column) => (
              <th key={name} scope="col" class={kind(column)}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {props.rows.map((cells, row) => (
            <tr key={row}>
              {cells.map((cell, column) => (
                <td key={props.head[column]} class={kind(column)}>
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** A word with a colour and a shape. */
export function Badge({ kind, children }: { kind: 'good' | 'warn' | 'bad' | 'plain'; children: ComponentChildren }) {
  const marks = { good: '●', warn: '▲', bad: '■', plain: '' };
  return (
    <span class={`badge ${kind}`}>
      {marks[kind] ? <span aria-hidden="true">{`${marks[kind]}\u00a0`}</span> : null}
      {children}
    </span>
  );
}

/** An id of the system, in full. */
export function Id({ children }: { children: string }) {
  return <code class="id">{children}</code>;
}

/** Asks to confirm a change, and for a token of the role admin. The token is forgotten when the dialog closes. */
export function Confirm(props: {
  title: string;
  children: ComponentChildren;
  action: string;
  /** False if the services ask for no tokens. */
  tokens: boolean;
  onClose: () => void;
  /** Makes the change. Resolves with what was done. */
  work: (token: string) => Promise<string>;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  const [done, setDone] = useState('');
  useEffect(() => dialog.current?.showModal(), []);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setProblem(undefined);
    try {
      setDone(await props.work(field.current?.value ?? ''));
    } catch (thrown) {
      setProblem(problemOf(thrown));
    }
    if (field.current) field.current.value = '';
    setBusy(false);
  };
  return (
    <dialog ref={dialog} onClose={props.onClose} aria-labelledby="confirm-title">
      <form onSubmit={submit}>
        <h2 id="confirm-title">{props.title}</h2>
        {done === '' ? (
          <>
            {props.children}
            <label>
              Token with the role admin
              <input ref={field} type="password" autocomplete="off" spellcheck={false} required={props.tokens} />
              <small>
                {props.tokens
                  ? 'It is sent once, and forgotten.'
                  : 'Leave it empty if your services ask for no tokens. It is sent once, and forgotten.'}
              </small>
            </label>
            <ProblemBox problem={problem} />
            <div class="buttons">
              <button type="button" onClick={() => dialog.current?.close()}>
                Cancel
              </button>
              <button type="submit" class="danger" disabled={busy}>
                {busy ? 'Working…' : props.action}
              </button>
            </div>
          </>
        ) : (
          <>
            <p role="status">Done: {done}.</p>
            <div class="buttons">
              <button type="button" onClick={() => dialog.current?.close()}>
                Close
              </button>
            </div>
          </>
        )}
      </form>
    </dialog>
  );
}
