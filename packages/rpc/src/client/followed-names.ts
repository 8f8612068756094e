import { isIP } from 'node:net';
import { experimental } from '@grpc/grpc-js';
import { hostsOf } from './target-hosts.js';

/** How often a name is looked up again, ms. */
const LOOKUP_MS = 4_000;
/** Our scheme beside grpc-js's dns. grpc-js looks a name up again only after a connection was lost. */
const SCHEME = 'ckv-dns';
/** Channel options for names that are looked up often: no look-up of a service configuration, and no long pauses. */
export const FOLLOWED_NAMES = {
  'grpc.service_config_disable_resolution': 1,
  'grpc.dns_min_time_between_resolutions_ms': 1_000,
} as const;

type Resolver = experimental.Resolver;
type Listener = experimental.ResolverListener;

/**
 * Resolves a name and follows its addresses, so that a new replica behind a headless service gets its share without a
 * restart of its callers. A failed look-up keeps the addresses that were found before.
 */
class FollowedNames implements Resolver {
  private readonly dns: Resolver;
  private timer: NodeJS.Timeout | undefined;
  private known = '';

  constructor(
    target: experimental.GrpcUri,
    listener: Listener,
    options: Parameters<typeof experimental.createResolver>[2],
  ) {
    const onResult: Listener = (endpoints, ...rest) => {
      if (!endpoints.ok) return listener(endpoints, ...rest);
      const found = endpoints.value.map(experimental.endpointToString).sort().join();
      if (found === this.known) return true; // the same list again would begin a new turn of round robin
      const accepted = listener(endpoints, ...rest);
      this.known = accepted ? found : '';
      return accepted;
    };
    this.dns = experimental.createResolver({ ...target, scheme: 'dns' }, onResult, options);
  }

  updateResolution(): void {
    this.timer ??= setInterval(() => this.dns.updateResolution(), LOOKUP_MS).unref();
    this.dns.updateResolution();
  }

  destroy(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    this.known = '';
    this.dns.destroy();
  }

  static getDefaultAuthority({ path }: experimental.GrpcUri): string {
    return path;
  }
}

experimental.registerResolver(SCHEME, FollowedNames);

/**
 * Returns a target whose addresses are followed, if it is a name. Addresses and sockets stay as they are.
 * @param target in gRPC's syntax
 */
export function followedTarget(target: string): string {
  const [host = '', ...others] = hostsOf(target);
  if (host === '' || others.length > 0 || isIP(host) || /^ipv[46]:/.test(target)) return target;
  return target.startsWith('dns:') ? target.replace(/^dns/, SCHEME) : `${SCHEME}:///${target}`;
}
