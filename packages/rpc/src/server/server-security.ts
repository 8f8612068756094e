import type { TlsOptions } from 'node:tls';
import { type FileOutcome, type Followed, followTlsFiles, type TlsMaterial } from '@collectivekv/credentials';
import { invalidRequest } from '@collectivekv/domain';
import { ServerCredentials } from '@grpc/grpc-js';

/** TLS options of a server. The files are read again when they change, for the connections that follow. */
export interface ServerTlsOptions {
  /** PEM file of the certificate chain. Set it together with `tlsKeyFile`. Default '': no TLS. */
  readonly tlsCertFile?: string;
  /** PEM file of the certificate's private key. */
  readonly tlsKeyFile?: string;
  /**
   * PEM file of the authorities that sign callers' certificates. A caller without such a certificate cannot connect.
   * Default '': asks for none.
   */
  readonly tlsClientCaFile?: string;
  /** How long a connection may be silent before its TLS handshake is done, ms. It is closed then. Default 10,000. */
  readonly handshakeTimeoutMs?: number;
  /** What error texts call these options, such as the variables that set them. Default: their own names. */
  readonly optionNames?: Readonly<Record<string, string>>;
  /** Called when a file has changed: its new content is used, or has a problem. Default: nobody is told. */
  readonly onFileOutcome?: (outcome: FileOutcome) => void;
}

/** Node would wait for two minutes. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** How a server is secured. */
export interface ServerSecurity {
  readonly credentials: ServerCredentials;
  /** Returns when the server's certificate expires, Unix ms. 0 without TLS. */
  certificateEndMs(): number;
  close(): void;
}

/**
 * Reads and follows the files.
 * @throws invalid_request if a file cannot be used, the key is not the certificate's, or a file that TLS needs is not
 * set
 */
export function secureServer(options: ServerTlsOptions): ServerSecurity {
  const { tlsCertFile = '', tlsKeyFile = '', tlsClientCaFile = '' } = options;
  const nameOf = (option: string) => options.optionNames?.[option] ?? option;
  const fileOf = (option: string, path: string) => (path === '' ? undefined : { field: nameOf(option), path });
  if (tlsCertFile === '' && tlsKeyFile === '') {
    if (tlsClientCaFile !== '') {
      const problem = `is set without ${nameOf('tlsCertFile')}`;
      throw invalidRequest(nameOf('tlsClientCaFile'), problem, 'give the server a certificate, or unset it');
    }
    return { credentials: ServerCredentials.createInsecure(), certificateEndMs: () => 0, close: () => undefined };
  }
  const tls = followTlsFiles(
    {
      authorities: fileOf('tlsClientCaFile', tlsClientCaFile),
      certificate: fileOf('tlsCertFile', tlsCertFile),
      key: fileOf('tlsKeyFile', tlsKeyFile),
    },
    options.onFileOutcome,
  );
  return {
    credentials: new FollowedServerCredentials(tls, {
      requestCert: tlsClientCaFile !== '',
      rejectUnauthorized: true,
      handshakeTimeout: options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS,
    }),
    certificateEndMs: () => tls.current.identity?.notAfterMs ?? 0,
    close: tls.close,
  };
}

/** Credentials that give each new connection the files' content of its time. Open connections go on. */
class FollowedServerCredentials extends ServerCredentials {
  constructor(tls: Followed<TlsMaterial>, options: TlsOptions) {
    super(options, contextOf(tls.current));
    tls.onChange(() => this.updateSecureContextOptions(contextOf(tls.current)));
  }

  _equals(other: ServerCredentials): boolean {
    return other === this;
  }
}

function contextOf({ authorities, identity }: TlsMaterial) {
  return { ca: authorities, cert: identity?.cert, key: identity?.key };
}
