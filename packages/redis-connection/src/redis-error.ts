import { CkvError } from '@collectivekv/domain';

/** Replies that say that the command itself is wrong; any other is about Redis's state, which may change. */
const WRONG_COMMAND = /^(WRONGTYPE|NOSCRIPT|CROSSSLOT|ERR(?! max number of clients))\b/;

/**
 * What a failed command means: a reply that says the memory is full is `overloaded`, any other refusal of the command
 * is a `bug`, and everything else is a connection's doing.
 */
export function redisError(thrown: unknown): CkvError {
  if (thrown instanceof CkvError) return thrown;
  const error = withoutCommand(thrown);
  if (error.name === 'ReplyError' || /^[A-Z]{3,} /.test(error.message)) {
    if (error.message.startsWith('OOM')) {
      return new CkvError('overloaded', 'Redis is at its memory limit; give it more, or shorten CKV_RECORD_TTL_S', {
        retryAfterMs: 1_000,
        cause: error,
      });
    }
    if (WRONG_COMMAND.test(error.message)) {
      return new CkvError('bug', 'internal error; the service log has its cause', { cause: error });
    }
  }
  return new CkvError('dependency_unavailable', 'Redis cannot be reached', { retryAfterMs: 100, cause: error });
}

/** Runs what talks to Redis; whatever it throws becomes the CkvError of {@link redisError}. */
export async function reachingRedis<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    throw redisError(thrown);
  }
}

/** The error without the command that ioredis hangs on it: its arguments are user ids and rows, which no log may have. */
function withoutCommand(thrown: unknown): Error {
  if (!(thrown instanceof Error)) return new Error(String(thrown));
  const bare = new Error(thrown.message);
  bare.name = thrown.name;
  if (thrown.stack !== undefined) bare.stack = thrown.stack;
  return bare;
}
