import { ConfigError } from './config.js';
import { isLoopback, unsafeBind } from './loopback.js';

/**
 * Checks that an address is safe to listen on.
 * @throws ConfigError if other machines can reach the address and nothing guards it
 */
export function requireSafeBind(variable: string, bind: string, guarded: boolean): void {
  if (guarded || isLoopback(bind)) return;
  throw new ConfigError([unsafeBind(variable, bind)]);
}
