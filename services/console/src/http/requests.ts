import type { IncomingMessage } from 'node:http';
import { CkvError, invalidRequest } from '@collectivekv/domain';

/** Most bytes of a request's body. */
export const MAX_BODY_BYTES = 64 * 1024;

/**
 * Refuses requests that another site makes a browser send. A form cannot send JSON, and a script of another site cannot
 * without the consent that this server never gives.
 * @throws permission_denied; invalid_request if the body is not JSON
 */
export function requireOwnPage({ headers }: IncomingMessage): void {
  const site = headers['sec-fetch-site'];
  const origin = headers.origin;
  const foreign =
    (site !== undefined && site !== 'same-origin') || (origin !== undefined && hostOf(origin) !== headers.host);
  if (foreign) {
    throw new CkvError('permission_denied', 'the request comes from another site; open the console itself');
  }
  if (!/^application\/json\b/i.test(headers['content-type'] ?? '')) {
    throw invalidRequest('content-type', 'is not application/json', 'send JSON');
  }
}

/**
 * Refuses a Host that is not this machine. Without tokens, a name that another site lets lead here would open the page
 * to its scripts.
 * @throws permission_denied
 */
export function requireLoopbackHost({ headers }: IncomingMessage): void {
  if (/^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i.test(headers.host ?? '')) return;
  const text = 'host: is not a name of this machine, and no token is asked for; open localhost, or set CKV_TOKENS_FILE';
  throw new CkvError('permission_denied', text, { field: 'host' });
}

function hostOf(origin: string): string | undefined {
  return /^https?:\/\/([^/]+)$/.exec(origin)?.[1];
}

/**
 * Reads the body of a request as JSON.
 * @throws invalid_request if it is longer than {@link MAX_BODY_BYTES}, or not JSON
 */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request) {
    bytes += (piece as Buffer).length;
    if (bytes > MAX_BODY_BYTES) {
      throw invalidRequest('request', `has more than ${MAX_BODY_BYTES} bytes`, 'send fewer items');
    }
    pieces.push(piece as Buffer);
  }
  try {
    return JSON.parse(Buffer.concat(pieces).toString());
  } catch {
    throw invalidRequest('request', 'is not JSON', 'send a JSON object');
  }
}
