import type { GrpcClientOptions } from '@collectivekv/rpc';
import { createGrpcServer, type GrpcServer } from '@collectivekv/rpc/server';
import { requireSafeBind } from './bind.js';
import type { CommonConfig } from './config.js';
import type { Logger } from './log.js';
import type { Metrics } from './metrics.js';

/** The variable that sets each option of packages/rpc. */
const VARIABLES = {
  tlsCaFile: 'CKV_TLS_CA_FILE',
  tlsCertFile: 'CKV_TLS_CERT_FILE',
  tlsKeyFile: 'CKV_TLS_KEY_FILE',
};

/** Returns the options of a service's calls to other services. */
export function clientOptionsOf(
  config: Pick<CommonConfig, 'CKV_TOKEN' | 'CKV_TLS_CA_FILE' | 'CKV_USE_PROXY'>,
): GrpcClientOptions {
  return { token: config.CKV_TOKEN, tlsCaFile: config.CKV_TLS_CA_FILE, useProxy: config.CKV_USE_PROXY };
}

/**
 * Creates the gRPC server of a service.
 * @throws ConfigError if the address is beyond loopback and neither a token nor TLS guards it
 * @throws invalid_request if a TLS file cannot be read, or the key is not the certificate's
 */
export function createServiceServer(config: CommonConfig, log: Logger, metrics: Metrics): GrpcServer {
  const guarded = config.CKV_TLS_CERT_FILE !== '' || config.CKV_TOKEN !== '' || config.CKV_ALLOW_INSECURE;
  requireSafeBind('CKV_BIND', config.CKV_BIND, guarded);
  return createGrpcServer({
    bind: config.CKV_BIND,
    token: config.CKV_TOKEN,
    tlsCertFile: config.CKV_TLS_CERT_FILE,
    tlsKeyFile: config.CKV_TLS_KEY_FILE,
    log,
    metrics,
  });
}

/** Returns an error text with variables in place of the options that they set. */
export function inVariables(text: string): string {
  return Object.entries(VARIABLES).reduce((said, [option, variable]) => said.replaceAll(option, variable), text);
}
