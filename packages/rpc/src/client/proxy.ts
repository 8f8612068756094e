import { isLoopbackTarget } from './target-hosts.js';

/**
 * True if calls to a target may go through an HTTP proxy. Loopback and sockets are never proxied: a proxy would look
 * for the target on its own machine.
 * @param target a target in gRPC's syntax, with or without a scheme; addresses are joined by commas
 */
export function mayUseProxy(target: string): boolean {
  return !isLoopbackTarget(target);
}
