import { createHash } from 'node:crypto';
import { CkvError, toCkvError } from '@collectivekv/domain';
import { type NamedFile, readNamedFile, readSmallFileLater, unreadableFile } from './small-file.js';

/** A value that files hold, kept up to date. */
export interface Followed<T> {
  /** The value of the newest content that could be used. */
  readonly current: T;
  /** Calls `listener` after each change of `current`. If it fails, Node prints a warning. */
  onChange(listener: () => void): void;
  /** Ends the looks at the files. */
  close(): void;
}

/** What became of a change of files. */
export interface FileOutcome {
  /** The option or variable that names the first of the files. */
  readonly field: string;
  /** Tells the readers of files apart: several may follow the files of one option. */
  readonly reader: object;
  /** Why the new content is not used. The former stays in use. Undefined if the new content is in use. */
  readonly problem: CkvError | undefined;
}

/** Options of {@link followFiles}. */
export interface FollowOptions<T> {
  /** Files that belong together, at least one. */
  readonly files: readonly NamedFile[];
  /** Returns the value of the files' contents, in the order of `files`. Throws a CkvError without any secret. */
  readonly parse: (contents: readonly Buffer[]) => T;
  /**
   * Called when new content is in use, and once for each problem with new content. If it fails, Node prints a warning.
   */
  readonly onOutcome?: ((outcome: FileOutcome) => void) | undefined;
  /** Time between two looks at the files, ms. Default 1,000. */
  readonly lookEveryMs?: number;
}

/**
 * Reads files now, and looks at them again every second. New content is used when two looks in a row found it, so that
 * files that are being written have no effect. It looks at the contents: a watch for events would miss the mounted
 * secrets of Kubernetes, which change by a link to another folder.
 * @throws invalid_request if a file cannot be read or its content cannot be used now
 */
export function followFiles<T>({ files, parse, onOutcome, lookEveryMs = 1_000 }: FollowOptions<T>): Followed<T> {
  const contents = files.map((file) => readNamedFile(file));
  let current = parse(contents);
  let usedPrint = printOf(contents);
  let seenPrint = usedPrint;
  let reported = '';
  const listeners: (() => void)[] = [];
  const reader = {};

  const report = (problem: CkvError | undefined) =>
    tell(() => onOutcome?.({ field: files[0]?.field ?? '', reader, problem }));

  /** Calls a function of the owner, which may be async. Its failure ends neither the process nor the looks. */
  async function tell(listener: () => unknown): Promise<void> {
    try {
      await listener();
    } catch (error) {
      process.emitWarning(`a function that is told about changed files failed: ${error}`);
    }
  }

  async function look(): Promise<void> {
    const found = await Promise.all(files.map(readLater)).catch(toCkvError);
    const print = found instanceof CkvError ? found.message : printOf(found);
    const isSettled = print === seenPrint;
    seenPrint = print;
    if (!isSettled) return;
    try {
      if (found instanceof CkvError) throw found;
      if (print !== usedPrint) {
        current = parse(found);
        usedPrint = print;
        for (const listener of listeners) void tell(listener);
      } else if (reported === '') return;
      reported = '';
      void report(undefined);
    } catch (thrown) {
      const problem = toCkvError(thrown);
      if (problem.message === reported) return;
      reported = problem.message;
      void report(problem);
    }
  }

  let looking = false;
  const timer = setInterval(() => {
    if (looking) return; // a disk that hangs
    looking = true;
    void look().finally(() => {
      looking = false;
    });
  }, lookEveryMs).unref();
  return {
    get current() {
      return current;
    },
    onChange: (listener) => listeners.push(listener),
    close: () => clearInterval(timer),
  };
}

async function readLater(file: NamedFile): Promise<Buffer> {
  try {
    return await readSmallFileLater(file.path);
  } catch (cause) {
    throw unreadableFile(file, cause);
  }
}

function printOf(contents: readonly Buffer[]): string {
  const hash = createHash('sha256');
  for (const content of contents) hash.update(`${content.length}:`).update(content);
  return hash.digest('hex');
}
