import type { Backends } from './backends.js';

/** Notes of how many interactions were sent and accepted, and when. */
export interface AcceptedNotes {
  /**
   * Returns how many interactions may have been accepted since this time: those whose call ended since then, or was
   * under way at the end. A service may have accepted such a call, and the backend may learn it later.
   * @param untilMs the end; default now. Both times are by `performance.now()`
   */
  acceptedSince(sinceMs: number, untilMs?: number): number;
  close(): void;
}

const NOTE_EVERY_MS = 25;

/** Begins the notes. */
export function notesOfAccepted(backends: Pick<Backends, 'acceptedCount' | 'sentCount'>): AcceptedNotes {
  const now = () => ({ atMs: performance.now(), accepted: backends.acceptedCount, sent: backends.sentCount });
  const notes = [now()];
  const timer = setInterval(() => notes.push(now()), NOTE_EVERY_MS);
  return {
    acceptedSince(sinceMs, untilMs = Number.POSITIVE_INFINITY) {
      const end = notes.find(({ atMs }) => atMs >= untilMs) ?? now();
      return end.sent - (notes.findLast(({ atMs }) => atMs <= sinceMs)?.accepted ?? 0);
    },
    close: () => clearInterval(timer),
  };
}
