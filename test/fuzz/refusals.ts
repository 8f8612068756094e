import type { CkvError, Reason } from '@collectivekv/domain';

/** Reasons of docs/errors.md that do not blame the input: something broke, or the caller left. */
const NOT_THE_INPUT: readonly Reason[] = ['bug', 'dependency_unavailable', 'draining', 'cancelled', 'provider_missing'];

/** True if the error refuses its input. False if something broke. */
export function isRefusal({ reason }: CkvError): boolean {
  return !NOT_THE_INPUT.includes(reason);
}
