import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { type CkvError, counted, invalidRequest } from '@collectivekv/domain';
import { ROLES, type Role } from './roles.js';

/** A token that callers may send. Only its digest is kept. */
export interface CallerToken {
  readonly digest: Buffer;
  readonly roles: readonly Role[];
  /** Name for logs; '' if it has none. */
  readonly label: string;
}

/** Fewest characters of a token. */
export const MIN_TOKEN_LENGTH = 16;

/** Makes digests useless to whoever reads this process's memory. */
const KEY = randomBytes(32);
const ALL_ROLES = Object.keys(ROLES) as Role[];

/** Returns a token with every role. */
export function tokenOfAllRoles(token: string): CallerToken {
  return { digest: digestOf(token), roles: ALL_ROLES, label: '' };
}

/**
 * Reads a list of tokens, one a line: `ROLE[,ROLE] TOKEN [LABEL]`. Empty lines and lines that begin with # are skipped.
 * @param field name of the option or variable, for errors
 * @throws invalid_request that names the line, and repeats none of its words: each may be a token
 */
export function parseTokenList(text: string, field: string): CallerToken[] {
  const tokens: CallerToken[] = [];
  const lineOf = new Map<string, number>();
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    const words = line.trim().split(/\s+/);
    const [roles = '', token = '', label = ''] = words;
    if (roles === '' || roles.startsWith('#')) continue;
    const wrong = (problem: string, remedy: string) => invalidRequest(field, `line ${i + 1} ${problem}`, remedy);
    const entry = tokenOf({ roles, token, label, wordCount: words.length }, wrong);
    const digest = entry.digest.toString('hex');
    const earlier = lineOf.get(digest);
    if (earlier !== undefined) throw wrong(`repeats the token of line ${earlier}`, 'join their roles in one line');
    lineOf.set(digest, i + 1);
    tokens.push(entry);
  }
  if (tokens.length === 0) throw invalidRequest(field, 'has no token', 'add a line: ROLE[,ROLE] TOKEN [LABEL]');
  return tokens;
}

function tokenOf(
  line: { roles: string; token: string; label: string; wordCount: number },
  wrong: (problem: string, remedy: string) => CkvError,
): CallerToken {
  const { roles: names, token, label, wordCount } = line;
  const form = 'write ROLE[,ROLE] TOKEN [LABEL]';
  if (wordCount < 2 || wordCount > 3) throw wrong(`has ${counted(wordCount, 'word')}, 2 or 3 are required`, form);
  const roles = names.split(',');
  if (!roles.every(isRole)) {
    throw wrong('begins with a word that is not a list of roles', `name roles of ${ALL_ROLES.join(', ')}`);
  }
  if (token.length < MIN_TOKEN_LENGTH) {
    throw wrong(
      `has a token of ${counted(token.length, 'character')}, ${MIN_TOKEN_LENGTH} are required`,
      'make a longer token',
    );
  }
  if (!/^[\x21-\x7e]*$/.test(token)) throw wrong('has a token that is not printable ASCII', 'make another token');
  if (!/^[\w.@-]{0,64}$/.test(label)) {
    throw wrong('has a bad label', 'use at most 64 letters, digits, _, ., @ and -');
  }
  return { digest: digestOf(token), roles, label };
}

/** Returns the token of a list that a caller sent. The time that it takes tells nothing about the tokens. */
export function findToken(tokens: readonly CallerToken[], sent: string): CallerToken | undefined {
  const digest = digestOf(sent);
  let found: CallerToken | undefined;
  for (const token of tokens) if (timingSafeEqual(token.digest, digest)) found = token;
  return found;
}

function isRole(name: string): name is Role {
  return Object.hasOwn(ROLES, name);
}

function digestOf(token: string): Buffer {
  return createHmac('sha256', KEY).update(token).digest();
}
