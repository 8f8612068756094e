/**
 * True if calls to a target may go through an HTTP proxy. Loopback and sockets are never proxied: a proxy would look for
 * the target on its own machine.
 * @param target a target in gRPC's syntax, with or without a scheme; addresses are joined by commas
 */
export function mayUseProxy(target: string): boolean {
  if (/^unix(-abstract)?:/.test(target)) return false;
  const addresses = target.replace(/^(dns:(\/\/[^/]*\/)?|ipv[46]:)/, '').split(',');
  return !addresses.some(isLoopback);
}

function isLoopback(address: string): boolean {
  const bare = address.split(':').length > 2 ? address : address.replace(/:\d+$/, ''); // IPv6 without brackets has no port
  const host = (/^\[(.*)\](:\d+)?$/.exec(address)?.[1] ?? bare).toLowerCase();
  return /^(localhost|.+\.localhost|::1|(::ffff:)?127(\.\d{1,3}){3})$/.test(host);
}
