import type { CkvError, Interaction } from '@collectivekv/domain';
import type { AppendWave, ReadJob, Wave } from './append-plan.js';

/** What of a job could not be appended, and why. */
export interface Refusal {
  readonly error: CkvError;
  /** In their order; from the first that was refused, a user's are all here. */
  readonly interactions: readonly Interaction[];
}

/** The interactions of a batch that were refused. */
export interface Refusals {
  /** Notes interactions of one user. */
  add(interactions: readonly Interaction[], error: CkvError): void;
  /** A wave's interactions by user, without those whose user was refused earlier in the same job: they are noted too. */
  without(wave: AppendWave): [userId: string, interactions: readonly Interaction[]][];
  of(read: ReadJob): Refusal | undefined;
}

/** Creates the notes of a batch. */
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
