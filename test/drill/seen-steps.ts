import type { UserJournal } from '@collectivekv/test-chaos/load/user-journal';

/** Which steps the records of each encoding were seen to have. Later answers must not have fewer. */
export interface SeenSteps {
  /** Returns the steps that a user's record has at least, by encoding. */
  of(journal: UserJournal): ReadonlyMap<string, number>;
  note(encodingId: string, journal: UserJournal, stepCount: number): void;
}

/** Creates the notes. */
export function createSeenSteps(): SeenSteps {
  const seen = new Map<UserJournal, Map<string, number>>();
  return {
    of: (journal) => new Map(seen.get(journal)),
    note(encodingId, journal, stepCount) {
      const own = seen.get(journal) ?? new Map<string, number>();
      seen.set(journal, own.set(encodingId, Math.max(stepCount, own.get(encodingId) ?? 0)));
    },
  };
}
