import { lacksReplicas } from './confirm-writes.js';
import { isConnected, type RedisClient } from './connect-redis.js';

/** How often a trial runs. */
const TRIAL_EVERY_MS = 1_000;

/** What trials report. */
export interface TrialReports {
  /**
   * Called with the error of every trial, with undefined if it passed, and with an error when the connection closes.
   */
  readonly onTried: (problem: Error | undefined) => void;
  /**
   * Called with the reply by which Redis refuses a trial, or with the error that too few replicas confirmed it. Once
   * until there is another one, or a trial passes.
   */
  readonly onRefused: (problem: Error) => void;
  /** Called when a trial passes after Redis refused one. */
  readonly onRefusedNoMore: () => void;
}

/**
 * Runs a trial when the client connects, and every second. A connection alone does not tell whether Redis does its
 * work: after a failover it may lead to a replica, which refuses writes.
 * @returns a function that ends the trials
 */
export function repeatTrial(
  client: RedisClient,
  trial: () => Promise<void>,
  { onTried, onRefused, onRefusedNoMore }: TrialReports,
): () => void {
  let ended = false;
  let refusal = '';
  const report = (problem: Error | undefined) => {
    if (ended) return;
    const refused = problem?.name === 'ReplyError' || (problem !== undefined && lacksReplicas(problem));
    if (problem && refused && problem.message !== refusal) onRefused(problem);
    if (!problem && refusal !== '') onRefusedNoMore();
    if (!problem || refused) refusal = problem?.message ?? '';
    onTried(problem);
  };
  const closed = () => report(new Error('the connection is closed'));
  const run = () =>
    trial().then(() => {
      if (isConnected(client)) report(undefined);
    }, report);
  client.on('ready', run);
  client.on('close', closed);
  if (isConnected(client)) void run();
  const timer = setInterval(run, TRIAL_EVERY_MS);
  return () => {
    ended = true;
    clearInterval(timer);
  };
}

/**
 * Tries a write: removes a key that does not exist. Redis executes it at its memory limit too, where it refuses other
 * writes: callers get `overloaded` then.
 * @param key a key that is never used otherwise
 */
export async function tryWrite(client: RedisClient, key: string): Promise<void> {
  await client.unlink(key);
}
