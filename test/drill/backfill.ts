import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisClient } from '@collectivekv/redis-connection';
import type { Random } from '@collectivekv/test-chaos/random';
import { openWarmings } from '@collectivekv/update-queue';
import type { Ckv } from './ckv.js';
import type { Killer } from './killer.js';

/** Parts of {@link backfill}. */
export interface BackfillParts {
  readonly ckv: Ckv;
  readonly redis: RedisClient;
  readonly bundleId: string;
  readonly encodingId: string;
  readonly logs: readonly string[];
  /** Rows of the logs. */
  readonly rowCount: number;
  /** Kills the command at random moments; undefined kills nothing. */
  readonly killer: Killer | undefined;
  readonly random: Random;
  readonly kills: number;
}

const PARTITIONS = 16;
const POLL_MS = 20;
/** Runs of the command that may fail because of a kill. */
const MAX_RUNS = 20;

/** Builds the records of an encoding by `ckv backfill`, which is run again whenever it dies. */
export async function backfill(parts: BackfillParts): Promise<void> {
  const { ckv, redis, bundleId, encodingId, logs, rowCount, killer, random, kills } = parts;
  const warmings = openWarmings({ client: redis, keyPrefix: 'ckv', partitionCount: PARTITIONS });

  async function appliedCount(): Promise<number> {
    const found = (await warmings.all()).find((one) => one.encodingId === encodingId);
    return (found?.partitions ?? []).reduce((sum, partition) => sum + partition.appliedCount, 0);
  }

  const moments = Array.from({ length: killer ? kills : 0 }, () => random.whole(1, rowCount - 1)).sort((a, b) => a - b);
  for (let run = 1; ; run++) {
    const command = ckv.start('backfill', '--bundle', bundleId, '--log', ...logs);
    const moment = moments.shift();
    let hasEnded = false;
    void command.ended.then(() => {
      hasEnded = true;
    });
    while (moment !== undefined && !hasEnded && (await appliedCount()) < moment) await sleep(POLL_MS);
    if (moment !== undefined && !hasEnded) {
      command.kill();
      killer?.count('backfill');
    }
    const { code, errors } = await command.ended;
    if (code === 0) return;
    const mayFail = killer !== undefined && run < MAX_RUNS;
    if (!mayFail) throw new Error(`ckv backfill failed (exit code ${code}): ${errors.trim()}`);
  }
}
