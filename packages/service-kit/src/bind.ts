import { ConfigError } from './config.js';
import { isLoopback, unsafeBind } from './loopback.js';

/** An address to listen on. */
export interface Bind {
  readonly variable: string;
  readonly bind: string;
  /** True if something asks who calls, or the operator allows everybody. */
  readonly guarded: boolean;
  /** How to make it safe, for the error. */
  readonly remedy: string;
}

/**
 * Checks that an address is safe to listen on.
 * @throws ConfigError if other machines can reach the address and nothing guards it
 */
export function requireSafeBind({ variable, bind, guarded, remedy }: Bind): void {
  if (guarded || isLoopback(bind)) return;
  throw new ConfigError([unsafeBind(variable, bind, remedy)]);
}
