import { ConfigError } from './config.js';
import { isLoopback, unsafeBind } from './loopback.js';

/** Refuses an address that others can reach where nothing guards it. */
export function requireSafeBind(variable: string, bind: string, guarded: boolean): void {
  if (guarded || isLoopback(bind)) return;
  throw new ConfigError([unsafeBind(variable, bind)]);
}
