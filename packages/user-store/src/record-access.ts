import type { AccessRules } from '@collectivekv/redis-connection';
import { createRecordKeys } from './record-keys.js';

/** Returns what ranking may do in the records' Redis: read records, and hear of erasures. */
export function recordReaderAccess(keyPrefix: string): AccessRules {
  return { keys: [`${keyPrefix}:{*`], channels: [erasuresOf(keyPrefix)], commands: ['get', 'subscribe', 'ping'] };
}

/** Returns what the user-cache may do in the records' Redis. Its scripts are checked command by command. */
export function recordWriterAccess(keyPrefix: string): AccessRules {
  return {
    keys: [`${keyPrefix}:*`],
    channels: [erasuresOf(keyPrefix)],
    commands: [
      'publish',
      ...['get', 'getrange', 'set', 'expire', 'rename', 'unlink', 'exists'],
      ...['sadd', 'smembers', 'scan', 'memory|usage', 'time', 'eval', 'evalsha', 'wait'],
    ],
  };
}

function erasuresOf(keyPrefix: string): string {
  return createRecordKeys(keyPrefix).erasures;
}
