import type { AccessRules } from '@collectivekv/redis-connection';

/** Returns what ranking may do in the records' Redis: read records. */
export function recordReaderAccess(keyPrefix: string): AccessRules {
  return { keys: [`${keyPrefix}:{*`], commands: ['get'] };
}

/** Returns what the user-cache may do in the records' Redis. Its scripts are checked command by command. */
export function recordWriterAccess(keyPrefix: string): AccessRules {
  return {
    keys: [`${keyPrefix}:*`],
    commands: [
      ...['get', 'getrange', 'set', 'expire', 'rename', 'unlink', 'exists'],
      ...['sadd', 'smembers', 'scan', 'memory|usage', 'time', 'eval', 'evalsha'],
    ],
  };
}
