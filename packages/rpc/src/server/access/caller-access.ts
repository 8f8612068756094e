import { type FileOutcome, followFiles } from '@collectivekv/credentials';
import { CkvError, invalidRequest } from '@collectivekv/domain';
import type { RpcLog } from '../observers.js';
import { createRefusalLog } from './refusal-log.js';
import { rolesOf } from './roles.js';
import { type CallerToken, findToken, MIN_TOKEN_LENGTH, parseTokenList, tokenOfAllRoles } from './token-list.js';

/** Which tokens callers may send. With none of these options they need none. */
export interface AccessOptions {
  /** Bearer token of all roles. Default '': none. */
  readonly token?: string;
  /** File that holds such a token. It is read again when it changes. Default '': none. */
  readonly tokenFile?: string;
  /**
   * File with tokens and their roles, one a line: `ROLE[,ROLE] TOKEN [LABEL]`. It is read again when it changes. If it
   * is set, the two options above have no effect here. Default '': none.
   */
  readonly tokensFile?: string;
  /** What error texts call these options, such as the variables that set them. Default: their own names. */
  readonly optionNames?: Readonly<Record<string, string>>;
  /** Called when a file has changed: its new content is used, or has a problem. Default: nobody is told. */
  readonly onFileOutcome?: (outcome: FileOutcome) => void;
}

/** What a caller sent beside its request: gRPC metadata, or the headers of an HTTP request. */
export interface SentHeaders {
  get(name: string): readonly unknown[];
}

/** Decides who may call what. */
export interface CallerAccess {
  /**
   * Returns why a caller may not call a method: unauthenticated, or permission_denied. Undefined if the caller may.
   * @param rpc `Service/Method`, `reflection`, or a key of CONSOLE_ROLES
   */
  refusal(rpc: string, headers: SentHeaders): CkvError | undefined;
  close(): void;
}

/**
 * Creates the access of a server's callers. It warns of tokens that lack a role, by their labels.
 * @throws invalid_request if a file cannot be read or has a bad line
 */
export function createCallerAccess(options: AccessOptions, log: Pick<RpcLog, 'warn'>): CallerAccess {
  const { tokens, close } = followTokens(options);
  const warn = createRefusalLog(log);
  return {
    refusal(rpc, headers) {
      const accepted = tokens();
      if (accepted.length === 0) return undefined;
      const [, sent = ''] = /^bearer (.*)$/i.exec(String(headers.get('authorization')[0] ?? '')) ?? [];
      const token = findToken(accepted, sent);
      if (!token) {
        const text =
          'authorization: the bearer token is missing or wrong; set CKV_TOKEN to one that the service accepts';
        return new CkvError('unauthenticated', text);
      }
      const needed = rolesOf(rpc);
      if (needed.some((role) => token.roles.includes(role))) return undefined;
      const missing = needed.join(' or ');
      warn({ rpc, missing, caller: token.label });
      const text = `authorization: ${rpc} needs a token with the role ${missing}; this token has ${token.roles.join(', ')}`;
      return new CkvError('permission_denied', text);
    },
    close,
  };
}

/** Returns the accepted tokens of this moment. They are none if no option is set. */
function followTokens(options: AccessOptions): { tokens(): readonly CallerToken[]; close(): void } {
  const { token = '', tokenFile = '', tokensFile = '', optionNames, onFileOutcome: onOutcome } = options;
  const path = tokensFile || tokenFile;
  if (path === '') {
    const fixed = token === '' ? [] : [tokenOfAllRoles(token)];
    return { tokens: () => fixed, close: () => undefined };
  }
  const option = tokensFile === '' ? 'tokenFile' : 'tokensFile';
  const field = optionNames?.[option] ?? option;
  const followed = followFiles({
    files: [{ field, path }],
    onOutcome,
    parse([content]) {
      const text = String(content);
      return tokensFile === '' ? [singleToken(text.trim(), field)] : parseTokenList(text, field);
    },
  });
  return { tokens: () => followed.current, close: followed.close };
}

function singleToken(token: string, field: string): CallerToken {
  if (token.length >= MIN_TOKEN_LENGTH && /^[\x21-\x7e]*$/.test(token)) return tokenOfAllRoles(token);
  const problem = `holds no token: at least ${MIN_TOKEN_LENGTH} characters of printable ASCII without spaces`;
  throw invalidRequest(field, problem, 'write one into the file');
}
