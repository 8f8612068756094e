import { randomUUID } from 'node:crypto';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** A folder this old was left by a process that was killed: a load and a download take minutes. */
const LEFT_BEHIND_MS = 3_600_000;
const PREFIXES = ['.private.', '.download.'];

/** Returns a new path in `parent`: of a private copy of a bundle, or of one that is not downloaded completely. */
export function temporaryFolder(parent: string, purpose: 'private' | 'download'): string {
  return join(parent, `.${purpose}.${randomUUID()}`);
}

/** Removes the temporary folders that killed processes have left in `parent`. Never throws. */
export async function removeLeftBehind(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []); // the caller creates it, or meets the same problem
  for (const name of names.filter((one) => PREFIXES.some((prefix) => one.startsWith(prefix)))) {
    const path = join(parent, name);
    const changed = await stat(path).catch(() => undefined); // another process may remove it at the same time
    if (!changed || Date.now() - changed.mtimeMs < LEFT_BEHIND_MS) continue;
    await rm(path, { recursive: true, force: true }).catch(() => undefined); // another user's, in a shared folder
  }
}
