import { isIP, type Socket } from 'node:net';
import { checkServerIdentity, connect, type PeerCertificate } from 'node:tls';
import { CLOSED_EARLY, type Followed, type TlsMaterial } from '@collectivekv/credentials';
import { CallCredentials, ChannelCredentials, type experimental } from '@grpc/grpc-js';

/** Whom a client trusts, and as whom it calls. */
export interface TlsPeer {
  readonly tls: Followed<TlsMaterial>;
  /** Hosts of the target. The server's certificate must be for one of them. */
  readonly hosts: readonly string[];
  /** Name that the server's certificate must have instead. Default '': a host of the target. */
  readonly serverName: string;
  /** Called with each failure of a TLS connection, and with undefined when one is made. */
  readonly onOutcome: (failure: { readonly code?: string | undefined; readonly message?: string } | undefined) => void;
}

/**
 * A connection that ends sooner was not meant to be used: a server of Node refuses a client's certificate like this.
 */
const EARLY_MS = 1_000;

/**
 * Returns credentials of a channel. Each new connection uses the files' content of its time; open connections go on.
 * Of several addresses each server may have the certificate of any: grpc-js would check all of them by the first one.
 */
export function createTlsCredentials(peer: TlsPeer): ChannelCredentials {
  return new FollowedCredentials(peer);
}

class FollowedCredentials extends ChannelCredentials {
  constructor(private readonly peer: TlsPeer) {
    super();
  }

  _isSecure(): boolean {
    return true;
  }

  _equals(other: ChannelCredentials): boolean {
    return other === this;
  }

  _createSecureConnector(
    _target: unknown,
    _options: unknown,
    callCredentials: CallCredentials = CallCredentials.createEmpty(),
  ): experimental.SecureConnector {
    return {
      connect: (socket) => connectBy(this.peer, socket),
      waitForReady: async () => undefined,
      getCallCredentials: () => callCredentials,
      destroy: () => undefined,
    };
  }
}

function connectBy(peer: TlsPeer, socket: Socket): Promise<experimental.SecureConnectResult> {
  const { tls, hosts, serverName, onOutcome } = peer;
  const names = serverName === '' ? hosts : [serverName];
  const [name = ''] = names;
  return new Promise((resolve, reject) => {
    const secured = connect({
      socket,
      secureContext: tls.current.secureContext,
      ALPNProtocols: ['h2'],
      // RFC 6066 allows no address here. Of several names, each may be that of the server: it gets none.
      ...(names.length === 1 && !isIP(name) ? { servername: name } : {}),
      checkServerIdentity: (_, certificate) => identityProblem(names, certificate),
    });
    let securedMs = Number.NEGATIVE_INFINITY;
    secured.once('secureConnect', () => {
      securedMs = performance.now();
      onOutcome(undefined);
      resolve({ socket: secured, secure: true });
    });
    secured.once('close', (failed) => {
      reject(new Error('the connection was closed'));
      if (!failed && performance.now() - securedMs < EARLY_MS) onOutcome({ code: CLOSED_EARLY });
    });
    // With TLS 1.3 a server refuses a client's certificate only after it is connected: the listener stays.
    secured.on('error', (error: NodeJS.ErrnoException) => {
      onOutcome(error);
      reject(error);
    });
  });
}

/** Returns why a certificate is for none of the names, or undefined. */
function identityProblem(names: readonly string[], certificate: PeerCertificate): Error | undefined {
  let problem: Error | undefined;
  for (const name of names.length > 0 ? names : ['localhost']) {
    problem = checkServerIdentity(name, certificate);
    if (!problem) return undefined;
  }
  return problem;
}
