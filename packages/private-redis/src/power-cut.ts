import { readdir, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import type { PrivateRedis } from './start-redis.js';

/** The append-only file of a server, as a power cut would leave it. */
export interface PowerSupply {
  /**
   * Ends the server by SIGKILL, and takes from its append-only file what the disk may not have yet: what was seen
   * written in the last `lostMs`. Nothing older is taken. After a SIGKILL alone the system still writes all of it.
   * @param lostMs at most 60 s
   * @returns the bytes taken; 0 without an append-only file
   */
  cut(lostMs: number): Promise<number>;
  /** Length of the append-only file as it was seen last. */
  watchedBytes(): number;
  /** Ends the watch. */
  close(): void;
}

const WATCH_EVERY_MS = 20;
/** How long the sizes are kept. */
const WATCHED_MS = 60_000;

/** Watches the append-only file in the folder of a server, so that the power can be cut. */
export function supplyPower(server: () => PrivateRedis, dataDir: string): PowerSupply {
  const folder = join(dataDir, 'appendonlydir');
  let sizes: { readonly atMs: number; readonly file: string; readonly bytes: number }[] = [];
  const timer = setInterval(async () => {
    const atMs = performance.now();
    const file = await newestFile(folder).catch(() => undefined);
    const bytes = file === undefined ? undefined : (await stat(file).catch(() => undefined))?.size;
    if (file === undefined || bytes === undefined) return;
    sizes = [...sizes.filter((one) => atMs - one.atMs < WATCHED_MS), { atMs, file, bytes }];
  }, WATCH_EVERY_MS);
  timer.unref();
  return {
    async cut(lostMs) {
      const untilMs = performance.now() - lostMs;
      await server().kill();
      const file = await newestFile(folder).catch(() => undefined);
      if (!file) return 0;
      const { size } = await stat(file);
      const kept = sizes.find((one) => one.file === file && one.atMs >= untilMs)?.bytes ?? size;
      await truncate(file, kept);
      return size - kept;
    },
    watchedBytes: () => sizes.at(-1)?.bytes ?? 0,
    close: () => clearInterval(timer),
  };
}

/** Returns the file to which Redis appends now. */
async function newestFile(folder: string): Promise<string | undefined> {
  const files = (await readdir(folder)).filter((name) => name.endsWith('.incr.aof'));
  const numberOf = (name: string) => Number(/\.(\d+)\.incr\.aof$/.exec(name)?.[1] ?? 0);
  const newest = files.sort((a, b) => numberOf(a) - numberOf(b)).at(-1);
  return newest && join(folder, newest);
}
