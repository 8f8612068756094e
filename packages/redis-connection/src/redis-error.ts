import { CkvError } from '@collectivekv/domain';
import { type Hop, inSpan } from '@collectivekv/tracing';

const REDIS: Hop = { name: 'redis', kind: 'client', attributes: { 'db.system.name': 'redis' } };

/** Replies to a command that can never succeed. Any other error reply is about Redis's state, which may change. */
const WRONG_COMMAND = /^(WRONGTYPE|NOSCRIPT|CROSSSLOT|ERR(?! max number of clients| The user executing the script))\b/;

/**
 * Returns the CkvError for a failed command. If Redis is out of memory, it is `overloaded`. If the command itself is
 * wrong, it is a `bug`. Any other failure is `dependency_unavailable`.
 */
export function redisError(thrown: unknown): CkvError {
  if (thrown instanceof CkvError) return thrown;
  const error = withoutCommand(thrown);
  const reply = replyOf(error);
  if (error.name === 'ReplyError' || /^[A-Z]{3,} /.test(reply)) {
    if (reply.startsWith('OOM')) {
      return new CkvError('overloaded', 'Redis is at its memory limit; give it more, or shorten CKV_RECORD_TTL_S', {
        retryAfterMs: 1_000,
        cause: error,
      });
    }
    if (WRONG_COMMAND.test(reply)) {
      return new CkvError('bug', 'internal error; the service log has its cause', { cause: error });
    }
  }
  return new CkvError('dependency_unavailable', 'Redis cannot be reached', { retryAfterMs: 100, cause: error });
}

/**
 * Returns the error reply of Redis that an error holds. If a command inside a script failed, Redis 6 wraps the reply in
 * one of its own, which begins with ERR.
 */
export function replyOf({ message }: Error): string {
  return /^ERR Error running script .*: -([A-Z]+ .*)$/s.exec(message)?.[1] ?? message;
}

/** Runs `work`, which sends commands to Redis, in a span. Converts what it throws by {@link redisError}. */
export function reachingRedis<T>(work: () => Promise<T>): Promise<T> {
  return inSpan(REDIS, async () => {
    const startedMs = performance.now();
    try {
      return await work();
    } catch (thrown) {
      throw redisError(thrown);
    } finally {
      observeSeconds?.((performance.now() - startedMs) / 1_000);
    }
  });
}

let observeSeconds: ((seconds: number) => void) | undefined;

/** Tells `observe` how long each work of {@link reachingRedis} takes from now on, s. */
export function observeRedis(observe: (seconds: number) => void): void {
  observeSeconds = observe;
}

/**
 * Copies an error without the command that ioredis attaches. Its arguments hold user ids and rows, which must not be
 * logged.
 */
function withoutCommand(thrown: unknown): Error {
  if (!(thrown instanceof Error)) return new Error(String(thrown));
  const bare = new Error(thrown.message);
  bare.name = thrown.name;
  if (thrown.stack !== undefined) bare.stack = thrown.stack;
  return bare;
}
