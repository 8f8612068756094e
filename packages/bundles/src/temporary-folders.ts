import { randomUUID } from 'node:crypto';
import { readdir, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';

/** A folder this old was left by a process that was killed: a load and a download take minutes. */
const LEFT_BEHIND_MS = 3_600_000;
const PREFIXES = ['.private.', '.download.'];
/** The owner's process id and host, at the end of a name. */
const OWNER = /\.(\d+)@(.+)$/;

/** Names of this process's folders. In a container, a service often has the process id of the one before it. */
const own = new Set<string>();

/**
 * Returns a new path in `parent`: of a private copy of a bundle, or of one that is not downloaded completely. The name
 * tells the owner, so that others can see whether it still runs.
 */
export function temporaryFolder(parent: string, purpose: 'private' | 'download'): string {
  const name = `.${purpose}.${randomUUID()}.${process.pid}@${hostname()}`;
  own.add(name);
  return join(parent, name);
}

/** Removes the temporary folders that killed processes have left in `parent`. Never throws. */
export async function removeLeftBehind(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []); // the caller creates it, or meets the same problem
  for (const name of names.filter((one) => PREFIXES.some((prefix) => one.startsWith(prefix)))) {
    const path = join(parent, name);
    const changed = await stat(path).catch(() => undefined); // another process may remove it at the same time
    if (!changed || (Date.now() - changed.mtimeMs < LEFT_BEHIND_MS && !hasLostOwner(name))) continue;
    await rm(path, { recursive: true, force: true }).catch(() => undefined); // another user's, in a shared folder
  }
}

/** True if the owner was a process of this host and has ended. Of another host, nothing is known. */
function hasLostOwner(name: string): boolean {
  const [, pid, host] = OWNER.exec(name) ?? [];
  return host === hostname() && !own.has(name) && !isRunning(Number(pid));
}

/** True if another process has the id. */
function isRunning(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
