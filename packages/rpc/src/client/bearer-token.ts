import { type FileOutcome, type Followed, followFiles } from '@collectivekv/credentials';
import { invalidRequest } from '@collectivekv/domain';
import { Metadata } from '@grpc/grpc-js';

/** A bearer token as the metadata of calls. */
export interface BearerToken {
  /** Has the token of this moment. Calls copy it when they start. */
  readonly metadata: Metadata;
  close(): void;
}

/** Options of {@link createBearerToken}. */
export interface BearerTokenOptions {
  /** The token. '': that of the file, or none. */
  readonly token: string;
  /** File that holds the token. '': none. */
  readonly tokenFile: string;
  /** Names of both options, for errors. */
  readonly fields: { readonly token: string; readonly tokenFile: string };
  readonly onOutcome?: ((outcome: FileOutcome) => void) | undefined;
}

/**
 * Creates the metadata. It follows the token file.
 * @throws invalid_request if a token is not printable ASCII without spaces, the file cannot be read, or both are set
 */
export function createBearerToken({ token, tokenFile, fields, onOutcome }: BearerTokenOptions): BearerToken {
  const metadata = new Metadata();
  if (!isToken(token)) {
    throw invalidRequest(fields.token, `is ${NO_TOKEN}`, 'send the token that the services require');
  }
  if (token !== '') metadata.set('authorization', `Bearer ${token}`);
  if (tokenFile === '') return { metadata, close: () => undefined };
  if (token !== '') throw invalidRequest(fields.tokenFile, `is set together with ${fields.token}`, 'set one of them');
  const followed: Followed<string> = followFiles({
    files: [{ field: fields.tokenFile, path: tokenFile }],
    onOutcome,
    parse([content]) {
      const text = String(content).trim();
      if (text === '') throw invalidRequest(fields.tokenFile, `${tokenFile} is empty`, 'write the token into it');
      if (!isToken(text)) {
        const remedy = 'write the token that the services require into it';
        throw invalidRequest(fields.tokenFile, `the text in ${tokenFile} is ${NO_TOKEN}`, remedy);
      }
      return text;
    },
  });
  const use = () => metadata.set('authorization', `Bearer ${followed.current}`);
  use();
  followed.onChange(use);
  return { metadata, close: followed.close };
}

const NO_TOKEN = 'not printable ASCII without spaces';

/** Checks a token before the metadata does, whose error would print it. */
function isToken(text: string): boolean {
  return /^[\x21-\x7e]*$/.test(text);
}
