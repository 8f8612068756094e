import { hostsOf } from './target-hosts.js';

/**
 * True if calls to a target may go through an HTTP proxy. Loopback and sockets are never proxied: a proxy would look
 * for the target on its own machine.
 * @param target a target in gRPC's syntax, with or without a scheme; addresses are joined by commas
 */
export function mayUseProxy(target: string): boolean {
  const hosts = hostsOf(target);
  return hosts.length > 0 && !hosts.some(isLoopback);
}

function isLoopback(host: string): boolean {
  return /^(localhost|.+\.localhost|::1|(::ffff:)?127(\.\d{1,3}){3})$/.test(host);
}
