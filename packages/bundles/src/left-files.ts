import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** No write takes so long. If one does, it fails, and its caller is told. */
const LEFT_AFTER_MS = 3_600_000;

/**
 * Removes files that processes left as they died while they wrote `folder/name`: until a file is complete, its name
 * ends with a UUID. Other processes may write there: their files are young, and stay. Never throws.
 */
export async function removeLeftFiles(folder: string, name: string, nowMs = Date.now()): Promise<void> {
  const names = await readdir(folder).catch(() => []); // the first write creates the folder
  for (const one of names) {
    if (!one.startsWith(`${name}.`) || !UUID.test(one.slice(name.length + 1))) continue;
    const path = join(folder, one);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: nowMs })); // another process has removed it
    if (nowMs - mtimeMs > LEFT_AFTER_MS) await rm(path, { force: true }).catch(() => undefined); // as if nobody had looked
  }
}
