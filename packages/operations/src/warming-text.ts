import type { Warming, WarmingPhase } from '@collectivekv/update-queue';

/** Returns a time in words: `40 s`, `12 min`, `3.5 h`. */
export function durationText(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3_600).toFixed(1)} h`;
}

/** Returns one line about a warming. */
export function warmingText(warming: Warming): string {
  const { partitions } = warming;
  const applied = partitions.reduce((sum, { appliedCount }) => sum + appliedCount, 0);
  const waiting = partitions.reduce((sum, { waitingCount }) => sum + waitingCount, 0);
  const lagMs = partitions.reduce((most, one) => Math.max(most, one.lagMs), 0);
  const phases = [...new Set(partitions.map(({ phase }) => phase))];
  const counts = phases.map((phase) => `${inPhase(warming, [phase])} ${phase}`);
  const parts = [`partitions: ${counts.join(', ')}`, `applied ${grouped(applied)}`];
  if (waiting > 0) parts.push(`${grouped(waiting)} rows wait`);
  if (lagMs > 0) parts.push(`event log ${durationText(Math.ceil(lagMs / 1_000))} behind`);
  return parts.join('; ');
}

/** Returns the number of partitions in one of the phases. */
export function inPhase({ partitions }: Warming, phases: readonly WarmingPhase[]): number {
  return partitions.filter(({ phase }) => phases.includes(phase)).length;
}

function grouped(count: number): string {
  return count.toLocaleString('en');
}
