/** What is wrong with a target, and what to write in its place. */
export interface TargetProblem {
  readonly problem: string;
  readonly remedy: string;
}

/**
 * Checks a target. It is `HOST:PORT`, or several IP addresses with their ports and commas between them. It may be
 * `dns:///HOST:PORT`, `ipv4:`, `ipv6:` or `unix:PATH`, too. Without a check, port 443 would be called for a target
 * without a port, and a URL would be taken for a host.
 */
export function targetProblem(target: string): TargetProblem | undefined {
  if (/^unix(-abstract)?:./.test(target)) return undefined;
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(target)?.[1]?.toLowerCase();
  if (scheme !== undefined && scheme !== 'dns') {
    const rest = target.slice(scheme.length + 3).replace(/\/.*$/, '');
    return { problem: `is a URL, "${target}"`, remedy: `write HOST:PORT alone, such as ${rest || 'ranking:50053'}` };
  }
  const addresses = target.replace(/^(dns:(\/\/[^/]*\/)?|ipv[46]:)/, '').split(',');
  for (const address of addresses) {
    const problem = addressProblem(address, target);
    if (problem) return problem;
  }
  if (addresses.length === 1 || addresses.every(isIpV4) || addresses.every(isIpV6)) return undefined;
  return {
    problem: `has several addresses, "${target}", of which one is a name`,
    remedy: 'give IP addresses alone, all of one version; a name with several addresses is dns:///NAME:PORT',
  };
}

/** Returns a checked target in gRPC's syntax. Several addresses become one target of IP addresses. */
export function grpcTarget(target: string): string {
  if (!target.includes(',') || /^(unix|unix-abstract|dns|ipv4|ipv6):/.test(target)) return target;
  return `${target.startsWith('[') ? 'ipv6' : 'ipv4'}:${target}`;
}

function addressProblem(address: string, target: string): TargetProblem | undefined {
  const [, host, port] = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(address) ?? [];
  if (host === undefined) {
    const remedy = 'write HOST:PORT, and an IPv6 address in brackets: [::1]:50053';
    return { problem: `"${target}" is not HOST:PORT`, remedy };
  }
  if (host === '' || /[\s/]/.test(host)) {
    return { problem: `"${target}" has no host`, remedy: 'write HOST:PORT, such as ranking:50053' };
  }
  if (port !== undefined && /^[1-9]\d{0,4}$/.test(port) && Number(port) <= 65_535) return undefined;
  const what = port === undefined || port === '' ? 'no port' : `the port ${port}, 1 to 65535 is possible`;
  return { problem: `"${target}" has ${what}`, remedy: `write HOST:PORT, such as ${host}:50053` };
}

function isIpV4(address: string): boolean {
  return /^\d{1,3}(\.\d{1,3}){3}:/.test(address);
}

function isIpV6(address: string): boolean {
  return address.startsWith('[');
}
