/** Splits `host:port`. An IPv6 host may have brackets, which are dropped. */
export function splitBind(bind: string): { host: string; port: number } {
  const colon = bind.lastIndexOf(':');
  return { host: bind.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(bind.slice(colon + 1)) };
}

/** True if only this machine can reach the address. */
export function isLoopback(bind: string): boolean {
  const { host } = splitBind(bind);
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** How to make the address of a gRPC server safe. TLS alone is not enough: it lets everybody in. */
export const GRPC_REMEDY =
  'set CKV_TOKENS_FILE, CKV_TOKEN or CKV_TLS_CLIENT_CA_FILE, bind to 127.0.0.1, or set CKV_ALLOW_INSECURE=true if the network is trusted';

/** How to make the address of the metrics safe. */
export const METRICS_REMEDY =
  'bind to 127.0.0.1, or set CKV_METRICS_ALLOW_INSECURE=true if everybody who reaches it may read metrics';

/** Returns the problem of an address that other machines can reach and nothing guards. */
export function unsafeBind(variable: string, bind: string, remedy: string): string {
  return `${variable}: ${bind} is beyond loopback and nothing there asks who calls; ${remedy}`;
}
