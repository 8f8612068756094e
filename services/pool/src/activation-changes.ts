import { CkvError, invalidRequest } from '@collectivekv/domain';
import type { Activation } from './activation.js';

/** Most candidates: followers hold each of them in memory, beside the active and the previous bundle. */
export const MAX_CANDIDATES = 2;
/** Most bundles that a row of rollbacks can return to. */
export const MAX_PREVIOUS = 8;

/** Most encodings whose latest records change is kept. The one that changed longest ago is forgotten. */
export const MAX_CHANGED_ENCODINGS = 64;

/** The latest records change of an encoding. */
export type RecordsChange = NonNullable<Activation['changes']>[number];

/** A candidate and its share of the users. */
export type Candidate = NonNullable<Activation['candidates']>[number];

/** An activation whose lists may be empty. */
interface Lists {
  readonly active: string;
  readonly previous: readonly string[];
  readonly candidates: readonly Candidate[];
  /** Bundles that a rollback has left. */
  readonly left: readonly string[];
}

/** Returns the activation with another active bundle. The one that was active becomes the first previous bundle. */
export function activated(activation: Activation, bundleId: string): Activation {
  const { active, previous, candidates, left } = listsOf(activation);
  if (active === bundleId) return activation;
  const others = previous.filter((id) => id !== bundleId && id !== active);
  return activationOf({
    active: bundleId,
    previous: [active, ...others].slice(0, MAX_PREVIOUS),
    candidates: candidates.filter((one) => one.bundleId !== bundleId),
    left,
  });
}

/**
 * Returns the activation without its latest change: canaries become warming. Without canaries, the previous bundle
 * becomes active, and the one that was active becomes the last previous bundle. No later rollback leads to it. It also
 * stays warm, if there are fewer than {@link MAX_CANDIDATES}: its records go on, so it can be activated again.
 * @throws invalid_request if there is neither, or if a rollback has left the previous bundle
 */
export function rolledBack(activation: Activation): Activation {
  const { active, previous, candidates, left } = listsOf(activation);
  if (candidates.some(({ shareBp }) => shareBp > 0)) {
    const ended = candidates.map(({ bundleId }) => ({ bundleId, shareBp: 0 }));
    return activationOf({ active, previous, candidates: ended, left });
  }
  const [target, ...rest] = previous;
  if (target === undefined) {
    const problem = 'no rollback is left: no bundle was active before this one';
    throw new CkvError('invalid_request', `${problem}; "ckv bundle activate" makes another one active`);
  }
  if (left.includes(target)) {
    const problem = `no rollback is left: bundle ${target} was active before this one, and a rollback has left it`;
    throw new CkvError('invalid_request', `${problem}; to return to it, run "ckv bundle activate ${target}"`);
  }
  const others = candidates.filter(({ bundleId }) => bundleId !== target);
  // The first previous bundle is announced. Behind it, this one would not be, and its records would get a hole.
  const staysWarm = rest.length > 0 && others.length < MAX_CANDIDATES;
  return activationOf({
    active: target,
    previous: [...rest, active],
    candidates: staysWarm ? [...others, { bundleId: active, shareBp: 0 }] : others,
    left: [...left, active],
  });
}

/**
 * Returns the activation with a candidate, or with another share of it.
 * @throws invalid_request if the bundle is active, or if there are {@link MAX_CANDIDATES} others
 */
export function withCandidate(activation: Activation, candidate: Candidate): Activation {
  const { active, candidates, ...others } = listsOf(activation);
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
  return activationOf({ active, ...others, candidates: next });
}

/**
 * Returns the activation without a candidate.
 * @throws invalid_request if the bundle is no candidate
 */
export function withoutCandidate(activation: Activation, bundleId: string): Activation {
  const { candidates, ...others } = listsOf(activation);
  const next = candidates.filter((one) => one.bundleId !== bundleId);
  if (next.length === candidates.length) {
    const ids = candidates.map((one) => one.bundleId).join(', ');
    throw invalidRequest('bundle_id', 'is no candidate', ids === '' ? 'there is none' : `use one of: ${ids}`);
  }
  return activationOf({ ...others, candidates: next });
}

/** Returns the number of the latest records change; 1 before the first. */
export function latestChange(changes: readonly RecordsChange[]): number {
  return changes.at(-1)?.number ?? 1;
}

/** Returns the records changes with another one. */
export function withChange(changes: readonly RecordsChange[], encodingId: string): RecordsChange[] {
  const others = changes.filter((one) => one.encodingId !== encodingId);
  return [...others, { encodingId, number: latestChange(changes) + 1 }].slice(-MAX_CHANGED_ENCODINGS);
}

/**
 * Checks that the records of an encoding have not changed since a change that the caller knows; 0 checks nothing. A
 * caller that was stopped after its look at a backfill is refused.
 * @throws conflict
 */
export function requireUnchanged(changes: readonly RecordsChange[], encodingId: string, knownChange: number): void {
  const { number } = changes.find((one) => one.encodingId === encodingId) ?? { number: 0 };
  if (knownChange === 0 || number <= knownChange) return;
  const problem = `records change ${number} concerns the bundle's encoding, ${encodingId}, and the caller knew ${knownChange}`;
  const remedy = 'a backfill of it may have begun since; look at "ckv backfill status", and try again';
  throw new CkvError('conflict', `known_change: ${problem}; ${remedy}`, { field: 'known_change' });
}

function listsOf({ active, previous, candidates = [], left = [] }: Activation): Lists {
  return { active, previous, candidates, left };
}

function activationOf({ active, previous, candidates, left }: Lists): Activation {
  const stillLeft = left.filter((id) => previous.includes(id));
  return {
    active,
    previous: [...previous],
    ...(candidates.length > 0 ? { candidates: [...candidates] } : {}),
    ...(stillLeft.length > 0 ? { left: stillLeft } : {}),
  };
}
