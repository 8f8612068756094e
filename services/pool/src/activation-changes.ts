import { CkvError, invalidRequest } from '@collectivekv/domain';
import type { Activation } from './activation.js';

/** Most candidates: followers hold each of them in memory, beside the active and the previous bundle. */
export const MAX_CANDIDATES = 2;
/** Most bundles that a row of rollbacks can return to. */
export const MAX_PREVIOUS = 8;

/** A candidate and its share of the users. */
export type Candidate = NonNullable<Activation['candidates']>[number];

/** Returns the activation with another active bundle. The one that was active becomes the first previous bundle. */
export function activated(activation: Activation, bundleId: string): Activation {
  const { active, previous, candidates = [] } = activation;
  if (active === bundleId) return activation;
  const others = previous.filter((id) => id !== bundleId && id !== active);
  const left = candidates.filter((one) => one.bundleId !== bundleId);
  return { active: bundleId, previous: [active, ...others].slice(0, MAX_PREVIOUS), ...listing(left) };
}

/**
 * Returns the activation without its latest change: canaries become warming. Without canaries, the previous bundle
 * becomes active, and the one that was active becomes the last previous bundle. It also stays warm, if there are fewer
 * than {@link MAX_CANDIDATES}: its records go on, so it can become active again.
 * @throws bundle_not_loaded if there is neither
 */
export function rolledBack({ active, previous, candidates = [] }: Activation): Activation {
  if (candidates.some(({ shareBp }) => shareBp > 0)) {
    return { active, previous, ...listing(candidates.map(({ bundleId }) => ({ bundleId, shareBp: 0 }))) };
  }
  const [target, ...rest] = previous;
  if (target === undefined) {
    throw new CkvError('bundle_not_loaded', 'no bundle was active before this one; activate one by its id');
  }
  const left = candidates.filter(({ bundleId }) => bundleId !== target);
  // The first previous bundle is announced. Behind it, this one would not be, and its records would get a hole.
  const staysWarm = rest.length > 0 && left.length < MAX_CANDIDATES;
  const next = staysWarm ? [...left, { bundleId: active, shareBp: 0 }] : left;
  return { active: target, previous: [...rest, active], ...listing(next) };
}

/**
 * Returns the activation with a candidate, or with another share of it.
 * @throws invalid_request if the bundle is active, or if there are {@link MAX_CANDIDATES} others
 */
export function withCandidate({ active, previous, candidates = [] }: Activation, candidate: Candidate): Activation {
  const { bundleId } = candidate;
  if (bundleId === active) {
    throw invalidRequest('bundle_id', 'is the active bundle', 'name another one; the active bundle serves already');
  }
  const known = candidates.some((one) => one.bundleId === bundleId);
  if (!known && candidates.length >= MAX_CANDIDATES) {
    const ids = candidates.map((one) => one.bundleId).join(', ');
    const problem = `is one candidate too many, at most ${MAX_CANDIDATES} are allowed`;
    throw invalidRequest('bundle_id', problem, `cancel one of: ${ids}`);
  }
  const next = known
    ? candidates.map((one) => (one.bundleId === bundleId ? candidate : one))
    : [...candidates, candidate];
  return { active, previous, ...listing(next) };
}

/**
 * Returns the activation without a candidate.
 * @throws invalid_request if the bundle is no candidate
 */
export function withoutCandidate({ active, previous, candidates = [] }: Activation, bundleId: string): Activation {
  const left = candidates.filter((one) => one.bundleId !== bundleId);
  if (left.length === candidates.length) {
    const ids = candidates.map((one) => one.bundleId).join(', ');
    throw invalidRequest('bundle_id', 'is no candidate', ids === '' ? 'there is none' : `use one of: ${ids}`);
  }
  return { active, previous, ...listing(left) };
}

function listing(candidates: readonly Candidate[]): Pick<Activation, 'candidates'> {
  return candidates.length === 0 ? {} : { candidates: [...candidates] };
}
