import type { FileOutcome } from '@collectivekv/credentials';
import type { GrpcClientOptions } from '@collectivekv/rpc';
import { createGrpcServer, type GrpcServer } from '@collectivekv/rpc/server';
import { requireSafeBind } from './bind.js';
import type { CommonConfig } from './config.js';
import type { Logger } from './log.js';
import { GRPC_REMEDY, isLoopback } from './loopback.js';
import { type Metrics, watchGauge } from './metrics.js';

/** The variable that sets each option of packages/rpc, for its errors. */
export const OPTION_NAMES = {
  token: 'CKV_TOKEN',
  tokenFile: 'CKV_TOKEN_FILE',
  tokensFile: 'CKV_TOKENS_FILE',
  tlsCaFile: 'CKV_TLS_CA_FILE',
  tlsCertFile: 'CKV_TLS_CERT_FILE',
  tlsKeyFile: 'CKV_TLS_KEY_FILE',
  tlsClientCaFile: 'CKV_TLS_CLIENT_CA_FILE',
  tlsClientCertFile: 'CKV_TLS_CLIENT_CERT_FILE',
  tlsClientKeyFile: 'CKV_TLS_CLIENT_KEY_FILE',
  tlsServerName: 'CKV_TLS_SERVER_NAME',
};

/** Returns the options of a service's calls to other services. */
export function clientOptionsOf(config: CommonConfig, onFileOutcome: (outcome: FileOutcome) => void) {
  const own = config.CKV_TLS_CLIENT_CERT_FILE !== '' || config.CKV_TLS_CLIENT_KEY_FILE !== '';
  const served = !own && config.CKV_TLS_CA_FILE !== '' && config.CKV_TLS_CERT_FILE !== '';
  const [certificate, key] = served
    ? (['CKV_TLS_CERT_FILE', 'CKV_TLS_KEY_FILE'] as const)
    : (['CKV_TLS_CLIENT_CERT_FILE', 'CKV_TLS_CLIENT_KEY_FILE'] as const);
  return {
    ...ownToken(config),
    tlsCaFile: config.CKV_TLS_CA_FILE,
    tlsClientCertFile: config[certificate],
    tlsClientKeyFile: config[key],
    tlsServerName: config.CKV_TLS_SERVER_NAME,
    useProxy: config.CKV_USE_PROXY,
    optionNames: { ...OPTION_NAMES, tlsClientCertFile: certificate, tlsClientKeyFile: key },
    onFileOutcome,
  } satisfies GrpcClientOptions;
}

/** Returns the file of this service's token, if there is one: its changes are followed. Otherwise the token. */
export function ownToken({ CKV_TOKEN: token, CKV_TOKEN_FILE: tokenFile }: CommonConfig) {
  return tokenFile === '' ? { token } : { tokenFile };
}

/** What a service's gRPC server needs of its process. */
export interface ServerParts {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly onFileOutcome: (outcome: FileOutcome) => void;
}

/**
 * Creates the gRPC server of a service. Warns if tokens come in plain text from beyond loopback.
 * @throws ConfigError if the address is beyond loopback, and neither tokens nor client certificates guard it
 * @throws invalid_request if a file of certificates, of a key or of tokens cannot be used
 */
export function createServiceServer(config: CommonConfig, { log, metrics, onFileOutcome }: ServerParts): GrpcServer {
  requireGuardedBind(config, log);
  const server = createGrpcServer({
    bind: config.CKV_BIND,
    ...ownToken(config),
    tokensFile: config.CKV_TOKENS_FILE,
    tlsCertFile: config.CKV_TLS_CERT_FILE,
    tlsKeyFile: config.CKV_TLS_KEY_FILE,
    tlsClientCaFile: config.CKV_TLS_CLIENT_CA_FILE,
    maxConnectionAgeMs: config.CKV_MAX_CONNECTION_AGE_S * 1_000,
    optionNames: OPTION_NAMES,
    onFileOutcome,
    log,
    metrics,
  });
  watchCertificateEnd(metrics, server.certificateEndMs);
  return server;
}

/** True if callers must send a token. */
export function asksForTokens({ CKV_TOKEN: token, CKV_TOKENS_FILE: tokensFile }: CommonConfig): boolean {
  return token !== '' || tokensFile !== '';
}

/**
 * Checks that something asks who calls beyond loopback. Warns if tokens come in plain text from there.
 * @throws ConfigError if neither tokens nor client certificates guard the address
 */
export function requireGuardedBind(config: CommonConfig, log: Pick<Logger, 'warn'>): void {
  const { CKV_BIND: bind } = config;
  const tokens = asksForTokens(config);
  const guarded = tokens || config.CKV_TLS_CLIENT_CA_FILE !== '' || config.CKV_ALLOW_INSECURE;
  requireSafeBind({ variable: 'CKV_BIND', bind, guarded, remedy: GRPC_REMEDY });
  if (!tokens || config.CKV_TLS_CERT_FILE !== '' || isLoopback(bind)) return;
  const problem = `CKV_BIND: ${bind} is beyond loopback without TLS, so tokens come in plain text; set CKV_TLS_CERT_FILE, unless a proxy or the network encrypts`;
  log.warn({ problem }, 'tokens can be read on the way');
}

/** Registers the gauge of the time at which the server's certificate expires. */
export function watchCertificateEnd(metrics: Metrics, endMs: () => number): void {
  const end = {
    name: 'ckv_tls_certificate_end_seconds',
    help: "When the certificate of the service's server expires, Unix time; 0 without TLS",
  };
  watchGauge(metrics, end, () => endMs() / 1000);
}
