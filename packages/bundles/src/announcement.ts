import { randomUUID } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

const bundleId = z.string().regex(/^[0-9a-f]{16}$/);

/** Reads an announcement of the pool. */
export const announcementSchema = z.object({ activeBundleId: bundleId, bundleIds: z.array(bundleId) });

/** The bundle to serve, and all bundles to keep loaded. */
export type Announcement = z.infer<typeof announcementSchema>;

/** Keeps the last announcement, so that a service can start while the pool is down. */
export interface AnnouncementFile {
  /** Returns the last announcement written; throws if the file is missing or damaged. */
  read(): Promise<Announcement>;
  write(announcement: Announcement): Promise<void>;
}

/** Returns the announcement file of a cache folder. */
export function createAnnouncementFile(cacheDir: string): AnnouncementFile {
  const path = join(cacheDir, 'announcement.json');
  return {
    async read() {
      return announcementSchema.parse(JSON.parse(await readFile(path, 'utf8')));
    },
    async write(announcement) {
      const temporary = `${path}.${randomUUID()}`;
      await writeFile(temporary, JSON.stringify(announcement));
      await rename(temporary, path);
    },
  };
}
