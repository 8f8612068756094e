import type { ChannelSecurityOptions } from './channel-security.js';

/** Options of `createGrpcClient`. */
export interface GrpcClientOptions extends ChannelSecurityOptions {
  /**
   * True: calls to targets beyond loopback go through the HTTP proxy that grpc_proxy, https_proxy or http_proxy names,
   * except to targets in no_grpc_proxy or no_proxy. Default false: these variables have no effect.
   */
  readonly useProxy?: boolean;
}
