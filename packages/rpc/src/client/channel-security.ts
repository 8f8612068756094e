import {
  type FileOutcome,
  type Followed,
  followTlsFiles,
  type TlsMaterial,
  tlsProblem,
} from '@collectivekv/credentials';
import { invalidRequest } from '@collectivekv/domain';
import { type ChannelCredentials, credentials, type Metadata } from '@grpc/grpc-js';
import { createBearerToken } from './bearer-token.js';
import { hostsOf } from './target-hosts.js';
import { createTlsCredentials } from './tls-credentials.js';

/** Options of a client that concern secrets and TLS. */
export interface ChannelSecurityOptions {
  /** Bearer token sent with every call. Default '': that of `tokenFile`, or none. */
  readonly token?: string;
  /** File that holds the bearer token. It is read again when it changes. Default '': none. */
  readonly tokenFile?: string;
  /**
   * PEM file of the certificate authorities that sign the servers' certificates. Default '': no TLS. This file and the
   * two below are read again when they change: new connections use the new content, and open ones go on.
   */
  readonly tlsCaFile?: string;
  /** PEM file of this client's certificate chain, for servers that require one. Default '': none. */
  readonly tlsClientCertFile?: string;
  /** PEM file of the private key of `tlsClientCertFile`. */
  readonly tlsClientKeyFile?: string;
  /** Name that the servers' certificates must have. Default '': a host of the target. */
  readonly tlsServerName?: string;
  /** What error texts call these options, such as the variables that set them. Default: their own names. */
  readonly optionNames?: Readonly<Record<string, string>>;
  /** Called when a file above has changed: its new content is used, or has a problem. Default: nobody is told. */
  readonly onFileOutcome?: (outcome: FileOutcome) => void;
}

/** How a channel is secured. */
export interface ChannelSecurity {
  readonly credentials: ChannelCredentials;
  /** Metadata of every call, with the token of this moment. */
  readonly metadata: Metadata;
  /** Returns why the last TLS connection failed and the remedy, or '' if it did not fail. */
  problem(): string;
  close(): void;
}

/**
 * Reads and follows the files.
 * @param target in gRPC's syntax
 * @throws invalid_request if a file cannot be read, or options do not go together
 */
export function secureChannel(target: string, options: ChannelSecurityOptions): ChannelSecurity {
  const { token = '', tokenFile = '', tlsCaFile = '', tlsServerName = '', onFileOutcome: onOutcome } = options;
  const { tlsClientCertFile = '', tlsClientKeyFile = '' } = options;
  const nameOf = (option: string) => options.optionNames?.[option] ?? option;
  const fields = { token: nameOf('token'), tokenFile: nameOf('tokenFile') };
  const bearer = createBearerToken({ token, tokenFile, fields, onOutcome });
  const { metadata } = bearer;
  const fileOf = (option: string, path: string) => (path === '' ? undefined : { field: nameOf(option), path });
  try {
    if (tlsCaFile === '') {
      requireUnset({ tlsClientCertFile, tlsClientKeyFile, tlsServerName }, nameOf);
      return { credentials: credentials.createInsecure(), metadata, problem: () => '', close: bearer.close };
    }
    const tls = followTlsFiles(
      {
        authorities: fileOf('tlsCaFile', tlsCaFile),
        certificate: fileOf('tlsClientCertFile', tlsClientCertFile),
        key: fileOf('tlsClientKeyFile', tlsClientKeyFile),
      },
      onOutcome,
    );
    return { ...overTls(tls), metadata };
  } catch (error) {
    bearer.close();
    throw error;
  }

  function overTls(tls: Followed<TlsMaterial>): Omit<ChannelSecurity, 'metadata'> {
    let failure: { readonly code?: string | undefined } = {};
    const context = {
      fields: {
        authorities: nameOf('tlsCaFile'),
        certificate: nameOf('tlsClientCertFile'),
        serverName: nameOf('tlsServerName'),
      },
      authoritiesPath: tlsCaFile,
      certificatePath: tlsClientCertFile,
    };
    return {
      credentials: createTlsCredentials({
        tls,
        hosts: hostsOf(target),
        serverName: tlsServerName,
        onOutcome(error) {
          failure = error ?? {};
        },
      }),
      problem: () => tlsProblem(failure, context),
      close() {
        bearer.close();
        tls.close();
      },
    };
  }
}

/** Refuses options that have no effect without TLS. */
function requireUnset(values: Record<string, string>, nameOf: (option: string) => string): void {
  for (const [option, value] of Object.entries(values)) {
    if (value !== '')
      throw invalidRequest(nameOf(option), `is set without ${nameOf('tlsCaFile')}`, 'set both, or neither');
  }
}
