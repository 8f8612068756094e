import { isIP } from 'node:net';
import { checkServerIdentity, type PeerCertificate, type SecureContext } from 'node:tls';
import { type FileOutcome, followTlsFiles, tlsProblem } from '@collectivekv/credentials';
import { CkvError } from '@collectivekv/domain';
import type { RedisAddress } from './redis-url.js';
import { createTlsProbe } from './tls-probe.js';

/** TLS options of a connection to Redis. The files are read again when they change, for the connections that follow. */
export interface RedisTlsOptions {
  /** PEM file of the authorities that sign the servers' certificates. Default '': those that Node brings. */
  readonly caFile?: string;
  /** PEM file of the certificate chain that the client shows. Default '': none. */
  readonly certFile?: string;
  /** PEM file of the private key of `certFile`. */
  readonly keyFile?: string;
  /** Name that the certificates of all servers must have. Default '': the host of each server. */
  readonly serverName?: string;
  /** What error texts call these options, such as the variables that set them. Default: their own names. */
  readonly optionNames?: Readonly<Record<string, string>>;
  /** Called when a file has changed: its new content is used, or has a problem. Default: nobody is told. */
  readonly onFileOutcome?: (outcome: FileOutcome) => void;
}

const VARIABLES = {
  caFile: 'CKV_REDIS_TLS_CA_FILE',
  certFile: 'CKV_REDIS_TLS_CERT_FILE',
  keyFile: 'CKV_REDIS_TLS_KEY_FILE',
  serverName: 'CKV_REDIS_TLS_SERVER_NAME',
} as const;

/** Returns the options that the variables for TLS to Redis set, in the environment or in a service's configuration. */
export function redisTlsFrom(
  variables: NodeJS.ProcessEnv | { readonly [V in (typeof VARIABLES)[keyof typeof VARIABLES]]?: string },
  onFileOutcome: (outcome: FileOutcome) => void = () => undefined,
): RedisTlsOptions {
  return {
    caFile: variables.CKV_REDIS_TLS_CA_FILE ?? '',
    certFile: variables.CKV_REDIS_TLS_CERT_FILE ?? '',
    keyFile: variables.CKV_REDIS_TLS_KEY_FILE ?? '',
    serverName: variables.CKV_REDIS_TLS_SERVER_NAME ?? '',
    optionNames: VARIABLES,
    onFileOutcome,
  };
}

/** TLS of a connection to Redis. */
export interface RedisTls {
  /** For ioredis, which reads the properties at each connect. Undefined without TLS. */
  readonly options: RedisConnectOptions | undefined;
  /** Returns an error that says why TLS failed and the remedy, or the error itself if TLS did not fail. */
  explained(error: Error): Error;
  close(): void;
}

interface RedisConnectOptions {
  readonly secureContext?: SecureContext;
  readonly servername?: string;
  readonly checkServerIdentity?: (host: string, certificate: PeerCertificate) => Error | undefined;
}

/**
 * Reads and follows the files.
 * @param urlField name of the variable that holds the URL, for errors
 * @throws invalid_request if a file cannot be used, or options are set for an address without TLS
 */
export function secureRedis(address: RedisAddress, urlField: string, tls: RedisTlsOptions = {}): RedisTls {
  const { caFile = '', certFile = '', keyFile = '', serverName = '' } = tls;
  const nameOf = (option: string) => tls.optionNames?.[option] ?? option;
  if (!address.tls) {
    for (const [option, value] of Object.entries({ caFile, certFile, keyFile, serverName })) {
      if (value === '') continue;
      const text = `${nameOf(option)}: is set, but ${urlField} begins with redis; begin it with rediss, or unset this`;
      throw new CkvError('invalid_request', text, { field: nameOf(option) });
    }
    return { options: undefined, explained: (error) => error, close: () => undefined };
  }
  const context = {
    fields: { authorities: nameOf('caFile'), certificate: nameOf('certFile'), serverName: nameOf('serverName') },
    authoritiesPath: caFile,
    certificatePath: certFile,
  };
  const [node] = address.nodes;
  const ownName = address.kind === 'single' && node && !isIP(node.host) ? { servername: node.host } : {};
  const name = serverName === '' ? ownName : nameOptions(serverName);
  if (caFile === '' && certFile === '' && keyFile === '') {
    // Node's authorities, as if no options were given: ioredis wants an object.
    return { options: name, explained: explainer(name), close: () => undefined };
  }
  const fileOf = (option: string, path: string) => (path === '' ? undefined : { field: nameOf(option), path });
  const files = {
    authorities: fileOf('caFile', caFile),
    certificate: fileOf('certFile', certFile),
    key: fileOf('keyFile', keyFile),
  };
  const followed = followTlsFiles(files, tls.onFileOutcome);
  const options = {
    ...name,
    get secureContext() {
      return followed.current.secureContext;
    },
  };
  return { options, explained: explainer(options), close: followed.close };

  function explainer(connectOptions: RedisConnectOptions): (error: Error) => Error {
    const probe = node && createTlsProbe(node, connectOptions);
    return (error) => {
      const ownProblem = tlsProblem(error, context);
      if (ownProblem === '') probe?.start();
      const problem = ownProblem || (probe?.failure ? tlsProblem(probe.failure, context) : '');
      return problem === '' ? error : new Error(problem, { cause: error });
    };
  }
}

/** Expects one name of every server: nodes of a cluster and primaries are known by address. */
function nameOptions(serverName: string): Pick<RedisConnectOptions, 'servername' | 'checkServerIdentity'> {
  return {
    ...(isIP(serverName) ? {} : { servername: serverName }),
    checkServerIdentity: (_, certificate) => checkServerIdentity(serverName, certificate),
  };
}
