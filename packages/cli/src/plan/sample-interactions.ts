import type { Interaction, Manifest } from '@collectivekv/domain';
import type { PlanInput } from './plan-input.js';

/** Returns interactions as a plan imagines them: ids of the planned lengths, and values of usual lengths. */
export function sampleInteractions(
  count: number,
  { userIdBytes, itemIdBytes, eventIdBytes }: PlanInput,
  { actions, features }: Manifest,
): Interaction[] {
  const action = actions[1] ?? ''; // index 0 stands for unknown actions
  const values = Object.fromEntries(features.interaction.map(({ name }, i) => [name, 0.0625 + i / 1_024]));
  return Array.from({ length: count }, (_, i) => ({
    eventId: idOf(i, eventIdBytes),
    userId: idOf(i, userIdBytes),
    itemId: idOf(i, itemIdBytes),
    timestampMs: 1_700_000_000_000 + i,
    action,
    features: values,
  }));
}

/** Returns an id of this length that begins with a number. */
function idOf(number: number, bytes: number): string {
  return String(number).slice(0, bytes).padEnd(bytes, 'x');
}
