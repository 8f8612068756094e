import type { CkvError, Interaction } from '@collectivekv/domain';
import type { AppendWave, ReadJob, Wave } from './append-plan.js';

/** The part of a job that could not be appended, and the reason. */
export interface Refusal {
  readonly error: CkvError;
  /** In order. After a user's first refused interaction, all later ones of that user follow. */
  readonly interactions: readonly Interaction[];
}

/** The refused interactions of a batch. */
export interface Refusals {
  /** Notes refused interactions of one user. */
  add(interactions: readonly Interaction[], error: CkvError): void;
  /**
   * Returns a wave's interactions by user. Leaves out and notes the interactions of users that were refused earlier in
   * the same job.
   */
  without(wave: AppendWave): [userId: string, interactions: readonly Interaction[]][];
  /** Returns a job's refusal; undefined if the whole job was appended. */
  of(read: ReadJob): Refusal | undefined;
}

/** Creates the refusals of a batch, empty. */
export function createRefusals(waves: readonly Wave[]): Refusals {
  const jobOf = new Map<Interaction, ReadJob>();
  for (const wave of waves) {
    if (wave.kind !== 'append') continue;
    for (const read of wave.jobs) {
      if (read.job.kind === 'record') for (const interaction of read.job.interactions) jobOf.set(interaction, read);
    }
  }
  const refusals = new Map<ReadJob, { error: CkvError; interactions: Interaction[]; users: Set<string> }>();
  const refusalOf = (interaction: Interaction) => {
    const read = jobOf.get(interaction);
    return read && refusals.get(read);
  };

  return {
    add(interactions, error) {
      for (const interaction of interactions) {
        const read = jobOf.get(interaction);
        if (!read) continue;
        const refusal = refusals.get(read) ?? { error, interactions: [], users: new Set() };
        refusal.interactions.push(interaction);
        refusal.users.add(interaction.userId);
        refusals.set(read, refusal);
      }
    },
    without(wave) {
      return [...wave.byUser].flatMap(([userId, interactions]) => {
        const kept = interactions.filter((interaction) => {
          const refusal = refusalOf(interaction);
          if (!refusal?.users.has(userId)) return true;
          refusal.interactions.push(interaction);
          return false;
        });
        return kept.length > 0 ? [[userId, kept] as [string, readonly Interaction[]]] : [];
      });
    },
    of: (read) => refusals.get(read),
  };
}
