/**
 * Returns the hosts of a target, in lower case and without ports and brackets. A socket's path has none.
 * @param target a target in gRPC's syntax, with or without a scheme; addresses are joined by commas
 */
export function hostsOf(target: string): string[] {
  if (/^unix(-abstract)?:/.test(target)) return [];
  return target
    .replace(/^(dns:(\/\/[^/]*\/)?|ipv[46]:)/, '')
    .split(',')
    .map(hostOf);
}

/**
 * True if a target has an address on loopback, or is a socket.
 * @param target a target in gRPC's syntax, as for {@link hostsOf}
 */
export function isLoopbackTarget(target: string): boolean {
  const hosts = hostsOf(target);
  return hosts.length === 0 || hosts.some(isLoopback);
}

function isLoopback(host: string): boolean {
  return /^(localhost|.+\.localhost|::1|(::ffff:)?127(\.\d{1,3}){3})$/.test(host);
}

function hostOf(address: string): string {
  const bare = address.split(':').length > 2 ? address : address.replace(/:\d+$/, ''); // IPv6 without brackets has no port
  return (/^\[(.*)\](:\d+)?$/.exec(address)?.[1] ?? bare).toLowerCase();
}
