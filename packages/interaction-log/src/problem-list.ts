import { LogError } from './log-error.js';

/** A row that cannot be read, or one cell of the row. */
export interface Problem {
  /** Line of the text from 1, with the header, or row of Parquet from 1. */
  readonly place: number;
  /** Name of the column in the file. Undefined if the whole row is meant. */
  readonly column?: string;
  /** Place of the column among the checked columns. Problems of one row are listed in this order. */
  readonly order?: number;
  /** Problems of one kind and column are listed together. */
  readonly kind: string;
  /** The problem and its remedy. */
  readonly text: string;
}

/** The problems of a file. */
export interface ProblemList {
  add(problem: Problem): void;
  readonly count: number;
  /** Returns the error that lists all problems. Problems of one kind and column take one line. */
  error(): LogError;
}

interface Group {
  readonly first: Problem;
  readonly also: number[];
  count: number;
}

const MOST_GROUPS = 20;
const MOST_PLACES = 5;

/** Creates an empty list. Its memory is bounded by the kinds of problems. */
export function createProblemList(file: string, unit: 'line' | 'row'): ProblemList {
  const groups = new Map<string, Group>();
  let count = 0;
  return {
    add(problem) {
      count++;
      const key = `${problem.column ?? ''}\n${problem.kind}`;
      const group = groups.get(key);
      if (!group) groups.set(key, { first: problem, also: [], count: 1 });
      else {
        group.count++;
        if (group.also.length < MOST_PLACES) group.also.push(problem.place);
      }
    },
    get count() {
      return count;
    },
    error() {
      const sorted = [...groups.values()].sort(
        ({ first: a }, { first: b }) => a.place - b.place || (a.order ?? -1) - (b.order ?? -1),
      );
      const [only] = sorted;
      if (sorted.length === 1 && only) return new LogError(`${file}, ${inWords(only, unit)}`);
      const shown = sorted.slice(0, MOST_GROUPS);
      const rest = count - shown.reduce((sum, group) => sum + group.count, 0);
      const lines = [
        ...shown.map((group) => inWords(group, unit)),
        ...(rest > 0 ? [`${grouped(rest)} more`] : []),
        `correct these rows, or leave them out: .venv/bin/python training/import_log.py log ${file} --skip-bad-rows --out NEW`,
      ];
      return new LogError(`${file} has ${grouped(count)} problems:\n${lines.map((line) => `  ${line}`).join('\n')}`);
    },
  };
}

function inWords({ first, also, count }: Group, unit: string): string {
  const where = `${unit} ${first.place}${first.column === undefined ? '' : `, column ${first.column}`}`;
  if (count === 1) return `${where}: ${first.text}`;
  const hidden = count - 1 - also.length;
  const places = hidden > 0 ? [...also.map(String), `${grouped(hidden)} more`] : also.map(String);
  return `${where}: ${first.text} (also ${unit}${count > 2 ? 's' : ''} ${inSequence(places)})`;
}

function inSequence(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

function grouped(count: number): string {
  return count.toLocaleString('en');
}
