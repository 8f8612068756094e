import { CkvError } from '@collectivekv/domain';

/** Address of one server. */
export interface RedisNode {
  readonly host: string;
  readonly port: number;
}

/** Addresses and credentials of a Redis deployment. */
export interface RedisAddress {
  readonly kind: 'single' | 'cluster' | 'sentinel';
  /** The single server, the first cluster nodes to ask, or the sentinels; at least one. */
  readonly nodes: readonly RedisNode[];
  readonly tls: boolean;
  readonly username: string;
  readonly password: string;
  readonly db: number;
  /** The primary's name at the sentinels; empty without sentinels. */
  readonly primaryName: string;
}

const SCHEMES = new Map<string, { kind: RedisAddress['kind']; tls: boolean }>([
  ['redis', { kind: 'single', tls: false }],
  ['rediss', { kind: 'single', tls: true }],
  ['redis+cluster', { kind: 'cluster', tls: false }],
  ['rediss+cluster', { kind: 'cluster', tls: true }],
  ['redis+sentinel', { kind: 'sentinel', tls: false }],
  ['rediss+sentinel', { kind: 'sentinel', tls: true }],
]);

const DEFAULT_PORT = { single: 6379, cluster: 6379, sentinel: 26379 } as const;

/**
 * Parses a Redis URL: `redis://[user:password@]host[:port][/db]`, `redis+cluster://host[:port],…` or
 * `redis+sentinel://host[:port],…/primary-name[/db]`. With `rediss` instead of `redis`, the connection uses TLS.
 * @throws invalid_request naming `field`. The message does not contain the URL, since that may hold a password
 */
export function parseRedisUrl(url: string, field: string): RedisAddress {
  const credentialsEnd = url.lastIndexOf('@');
  if (/[@/]/.test(url.slice(0, Math.max(0, credentialsEnd)).replace(/^[a-z+]+:\/\//, ''))) {
    const remedy = 'write them percent-encoded, @ as %40, / as %2F and % as %25';
    throw problem(field, 'has a user or password with @ or /', remedy);
  }
  const match = /^([a-z+]+):\/\/(?:([^@/]*)@)?([^/?#]+)((?:\/[^/?#]*)*)$/.exec(url);
  const scheme = SCHEMES.get(match?.[1] ?? '');
  if (!match || !scheme) throw problem(field, 'is not a Redis URL', `use ${[...SCHEMES.keys()].join('://, ')}://`);
  const [, , credentials = '', hosts = '', path = ''] = match;
  const colon = credentials.indexOf(':');
  const [username, password] =
    colon < 0 ? ['', credentials] : [credentials.slice(0, colon), credentials.slice(colon + 1)];
  const segments = path.split('/').filter((segment) => segment !== '');
  const primaryName = scheme.kind === 'sentinel' ? (segments.shift() ?? '') : '';
  if (scheme.kind === 'sentinel' && primaryName === '') {
    throw problem(field, "lacks the primary's name", 'end it with /name');
  }
  const db = Number(segments[0] ?? 0);
  if (!Number.isInteger(db) || db < 0 || segments.length > 1 || (scheme.kind === 'cluster' && db !== 0)) {
    throw problem(
      field,
      'has a bad database number',
      'end it with a number such as /0, or nothing; a cluster has only 0',
    );
  }
  return {
    ...scheme,
    nodes: hosts.split(',').map((host) => nodeOf(host, DEFAULT_PORT[scheme.kind], field)),
    username: decoded(username, field),
    password: decoded(password, field),
    db,
    primaryName,
  };
}

function decoded(text: string, field: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw problem(field, 'has a user or password with a bad % escape', 'write % as %25');
  }
}

function nodeOf(text: string, defaultPort: number, field: string): RedisNode {
  const match = /^(\[[^\]]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(text);
  const port = Number(match?.[2] ?? defaultPort);
  if (!match?.[1] || port < 1 || port > 65_535) throw problem(field, 'has a bad host or port', 'write host:port');
  return { host: match[1].replace(/^\[|\]$/g, ''), port };
}

function problem(field: string, what: string, remedy: string): CkvError {
  return new CkvError('invalid_request', `${field}: ${what}; ${remedy}`, { field });
}
