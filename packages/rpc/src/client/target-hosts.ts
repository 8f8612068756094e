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

function hostOf(address: string): string {
  const bare = address.split(':').length > 2 ? address : address.replace(/:\d+$/, ''); // IPv6 without brackets has no port
  return (/^\[(.*)\](:\d+)?$/.exec(address)?.[1] ?? bare).toLowerCase();
}
