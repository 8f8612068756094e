import type { Backends } from './backends.js';

/** Notes of how many interactions were accepted, and when. */
export interface AcceptedNotes {
  /**
   * Returns the number of interactions accepted since this time; a few more, never fewer.
   * @param untilMs counts those that were accepted until this time; default now. Both are by `performance.now()`
   */
  acceptedSince(atMs: number, untilMs?: number): number;
  close(): void;
}

const NOTE_EVERY_MS = 25;

/** Begins the notes. */
export function notesOfAccepted(backends: Backends): AcceptedNotes {
  const notes: { readonly atMs: number; readonly count: number }[] = [];
  const note = () => notes.push({ atMs: performance.now(), count: backends.acceptedCount });
  const timer = setInterval(note, NOTE_EVERY_MS);
  return {
    acceptedSince(sinceMs, untilMs = Number.POSITIVE_INFINITY) {
      const until = notes.find(({ atMs }) => atMs >= untilMs)?.count ?? backends.acceptedCount;
      return until - (notes.findLast(({ atMs }) => atMs <= sinceMs)?.count ?? 0);
    },
    close: () => clearInterval(timer),
  };
}
