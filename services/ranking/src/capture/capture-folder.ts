import { randomUUID } from 'node:crypto';
import { link, lstat, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** The name of a capture's file: the id that the caller chose, and the tag of the user. */
export interface CaptureName {
  readonly captureId: string;
  readonly userTag: string;
}

/** The folder of captures. Other files in it are left alone. */
export interface CaptureFolder {
  readonly count: number;
  readonly bytes: number;
  has(captureId: string): boolean;
  /** Writes a capture completely or not at all, for this user of the machine alone. Throws if the id is in use. */
  write(name: CaptureName, content: Uint8Array): Promise<void>;
  /** Removes the captures of the users with these tags. Returns how many they were. */
  eraseTags(userTags: ReadonlySet<string>): Promise<number>;
  /** Looks at the files, and removes captures older than the TTL and what killed processes left. */
  sweep(): Promise<void>;
}

/** Options of {@link openCaptureFolder}. */
export interface CaptureFolderOptions {
  readonly dir: string;
  readonly ttlMs: number;
}

interface Entry extends CaptureName {
  readonly bytes: number;
  readonly writtenMs: number;
}

/** A capture id: it is a part of a file's name. */
export const CAPTURE_ID = /^[A-Za-z0-9_-]{1,64}$/;
const FILE_NAME = /^([A-Za-z0-9_-]{1,64})\.([0-9a-f]{16})\.capture$/;
const PARTIAL_NAME = /^\.[0-9a-f-]{36}\.partial$/;
/** A partial file this old was left by a process that was killed. */
const LEFT_BEHIND_MS = 60_000;

/** Opens a folder of captures, and sweeps it. Creates it if needed. Throws an error of the file system. */
export async function openCaptureFolder({ dir, ttlMs }: CaptureFolderOptions): Promise<CaptureFolder> {
  const entries = new Map<string, Entry>(); // by the name of the file
  const ids = new Map<string, string>(); // file names by capture id
  let bytes = 0;

  function add(file: string, entry: Entry): void {
    forget(file);
    entries.set(file, entry);
    ids.set(entry.captureId, file);
    bytes += entry.bytes;
  }

  function forget(file: string): void {
    const entry = entries.get(file);
    if (!entry) return;
    entries.delete(file);
    if (ids.get(entry.captureId) === file) ids.delete(entry.captureId);
    bytes -= entry.bytes;
  }

  async function remove(file: string): Promise<void> {
    await rm(join(dir, file), { force: true });
    forget(file);
  }

  async function sweep(): Promise<void> {
    const files = new Set(await readdir(dir));
    for (const file of [...entries.keys()]) if (!files.has(file)) forget(file);
    for (const file of files) {
      const [, captureId, userTag] = FILE_NAME.exec(file) ?? [];
      const isCapture = captureId !== undefined && userTag !== undefined;
      if (!isCapture && !PARTIAL_NAME.test(file)) continue;
      const found = entries.get(file) ?? (await look(join(dir, file)));
      if (!found) continue; // another process removed it, or it is no file
      if (Date.now() - found.writtenMs >= (isCapture ? ttlMs : LEFT_BEHIND_MS)) await remove(file);
      else if (isCapture && !entries.has(file)) add(file, { captureId, userTag, ...found });
    }
  }

  await mkdir(dir, { recursive: true, mode: 0o700 });
  await sweep();

  return {
    get count() {
      return entries.size;
    },
    get bytes() {
      return bytes;
    },
    has: (captureId) => ids.has(captureId),
    async write({ captureId, userTag }, content) {
      const file = `${captureId}.${userTag}.capture`;
      const partial = join(dir, `.${randomUUID()}.partial`);
      try {
        const handle = await open(partial, 'wx', 0o600);
        try {
          await handle.writeFile(content);
          await handle.sync();
        } finally {
          await handle.close();
        }
        await link(partial, join(dir, file)); // unlike a rename, it fails if the file exists
      } finally {
        await rm(partial, { force: true });
      }
      add(file, { captureId, userTag, bytes: content.length, writtenMs: Date.now() });
    },
    async eraseTags(userTags) {
      const found = [...entries].filter(([, entry]) => userTags.has(entry.userTag)).map(([file]) => file);
      for (const file of found) await remove(file);
      return found.length;
    },
    sweep,
  };
}

async function look(path: string): Promise<{ bytes: number; writtenMs: number } | undefined> {
  const found = await lstat(path).catch(() => undefined);
  return found?.isFile() ? { bytes: found.size, writtenMs: found.mtimeMs } : undefined;
}
