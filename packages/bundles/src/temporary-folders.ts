import { randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';

/** A folder this old was left by a process that was killed: a load and a download take minutes. */
const LEFT_BEHIND_MS = 3_600_000;
const PREFIXES = ['.private.', '.download.'];
/** The owner's process id and process space, at the end of a name. */
const OWNER = /\.(\d+)@(.+)$/;
/** Where process ids mean the same: this container, or this machine. Containers may share a host name, and a folder. */
const PROCESS_SPACE = processSpace();

/** Names of this process's folders. In a container, a service often has the process id of the one before it. */
const own = new Set<string>();

/**
 * Returns a new path in `parent`: of a private copy of a bundle, or of one that is not downloaded completely. The name
 * tells the owner, so that others can see whether it still runs.
 */
export function temporaryFolder(parent: string, purpose: 'private' | 'download'): string {
  const name = `.${purpose}.${randomUUID()}.${process.pid}@${PROCESS_SPACE}`;
  own.add(name);
  return join(parent, name);
}

/** Removes the temporary folders that killed processes have left in `parent`. Never throws. */
export async function removeLeftBehind(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []); // the caller creates it, or meets the same problem
  const temporary = names.filter((one) => PREFIXES.some((prefix) => one.startsWith(prefix)));
  if (temporary.length === 0) return;
  const nowMs = await fileSystemNowMs(parent);
  for (const name of temporary) {
    const path = join(parent, name);
    const changed = await stat(path).catch(() => undefined); // another process may remove it at the same time
    if (!changed || (nowMs - changed.mtimeMs < LEFT_BEHIND_MS && !hasLostOwner(name))) continue;
    await rm(path, { recursive: true, force: true }).catch(() => undefined); // another user's, in a shared folder
  }
}

/** True if the owner was a process of this process space and has ended. Of others, nothing is known. */
function hasLostOwner(name: string): boolean {
  const [, pid, space] = OWNER.exec(name) ?? [];
  return space === PROCESS_SPACE && !own.has(name) && !isRunning(Number(pid));
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

/** Returns the names of this start of the kernel and of this process's table of process ids; elsewhere the host's name. */
function processSpace(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot}.${readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')}`;
  } catch {
    return hostname();
  }
}

/** Returns the time by the clock that dates the folders in `parent`, Unix ms; without it, a time before all of them. */
async function fileSystemNowMs(parent: string): Promise<number> {
  const probe = temporaryFolder(parent, 'download');
  try {
    await mkdir(probe);
    return (await stat(probe)).mtimeMs;
  } catch {
    return 0; // a folder that cannot be written: nothing in it can be removed either
  } finally {
    await rm(probe, { recursive: true, force: true }).catch(() => undefined);
    own.delete(basename(probe));
  }
}
