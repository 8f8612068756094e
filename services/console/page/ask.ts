import type { ProblemView } from '../src/views.js';

/** A failure of a request, in words for people. */
export class Problem extends Error {
  constructor(
    /** A reason of docs/errors.md, or `offline`. */
    readonly reason: string,
    message: string,
  ) {
    super(message);
  }
}

/** The token of this page, in memory alone: a reload forgets it. */
let token = '';

/** Sets the token that requests send. */
export function useToken(typed: string): void {
  token = typed;
}

/**
 * Asks the console's server.
 * @param typed sent in place of the page's token, for one change
 */
export async function ask<T>(name: string, request: object = {}, typed?: string): Promise<T> {
  const sent = typed ?? token;
  const response = await fetch(`/api/${name}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(sent === '' ? {} : { authorization: `Bearer ${sent}` }) },
    body: JSON.stringify(request),
    cache: 'no-store',
    credentials: 'omit',
  }).catch(() => {
    throw new Problem('offline', 'The console does not answer. Look whether its process runs.');
  });
  const answer: unknown = await response.json().catch(() => ({ reason: 'bug', message: `HTTP ${response.status}` }));
  if (response.ok) return answer as T;
  const { reason, message } = answer as ProblemView;
  throw new Problem(reason, message);
}

/** Returns a thrown value as a problem. */
export function problemOf(thrown: unknown): Problem {
  return thrown instanceof Problem ? thrown : new Problem('bug', String(thrown));
}
