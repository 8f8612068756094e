import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** A clock that a redis-server uses instead of the machine's. */
export interface RedisClock {
  /** Variables for the server. */
  readonly env: Readonly<Record<string, string>>;
  /** Sets the clock so many seconds ahead of the machine's. The server sees it within 0.1 s. */
  set(aheadS: number): Promise<void>;
}

const SOURCE = fileURLToPath(new URL('../../faults/shifted-clock.c', import.meta.url));

/**
 * Makes clocks for redis-servers, which need a C compiler and Linux.
 * @returns a function that makes a clock of a name; undefined if there is no compiler
 */
export async function redisClocks(dir: string): Promise<((name: string) => RedisClock) | undefined> {
  const library = join(dir, 'shifted-clock.so');
  try {
    if (process.platform !== 'linux') return undefined;
    await promisify(execFile)('cc', ['-shared', '-fPIC', '-O2', '-o', library, SOURCE]);
  } catch {
    return undefined;
  }
  return (name) => {
    const file = join(dir, `${name}.clock`);
    return { env: { LD_PRELOAD: library, CHAOS_CLOCK: file }, set: (aheadS) => writeFile(file, String(aheadS)) };
  };
}
