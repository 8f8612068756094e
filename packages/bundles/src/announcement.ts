import { randomUUID } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { removeLeftFiles } from './left-files.js';

/** What a follower does with a bundle besides keeping it loaded, and writing records of its encoding. */
export type BundleState =
  /** Serves every user whom no canary serves. */
  | 'active'
  /** Serves a share of the users. */
  | 'canary'
  /** Serves nobody yet. */
  | 'warming'
  /** Was active before. Serves nobody unless a rollback makes it active again. */
  | 'previous';

/** A bundle of an announcement. */
export interface AnnouncedBundle {
  readonly bundleId: string;
  readonly state: BundleState;
  /** Share of the users that a canary serves, in parts per 10,000; 0 in every other state. */
  readonly shareBp: number;
  /** Number of the latest records change of the bundle's encoding; 0 before the first. */
  readonly recordsChange: number;
}

/** The bundle to serve, and all bundles to keep loaded. */
export interface Announcement {
  readonly activeBundleId: string;
  /** The active bundle first. */
  readonly bundles: readonly AnnouncedBundle[];
}

const STATES = {
  BUNDLE_STATE_ACTIVE: 'active',
  BUNDLE_STATE_CANARY: 'canary',
  BUNDLE_STATE_WARMING: 'warming',
  BUNDLE_STATE_PREVIOUS: 'previous',
} as const satisfies Record<string, BundleState>;

const bundleId = z.string().regex(/^[0-9a-f]{16}$/);
/** A WatchBundlesResponse. */
const messageSchema = z.object({
  activeBundleId: bundleId,
  bundleIds: z.array(bundleId),
  bundles: z
    .array(z.object({ bundleId, state: z.string(), shareBp: z.int().min(0), recordsChange: z.int().min(0).default(0) }))
    .default([]),
});

/** A message of `WatchBundles`. */
export type AnnouncementMessage = z.input<typeof messageSchema>;

/**
 * Reads a message of `WatchBundles`. A bundle without a state that this build knows is only kept loaded, as one for a
 * rollback is. Older pools send no states.
 */
export function parseAnnouncement(message: unknown): Announcement {
  const { activeBundleId, bundleIds, bundles } = messageSchema.parse(message);
  const sent = new Map(bundles.map((one) => [one.bundleId, one]));
  const others = [...new Set(bundleIds)].filter((id) => id !== activeBundleId);
  const announced = others.map((id): AnnouncedBundle => {
    const one = sent.get(id);
    const state = STATES[one?.state as keyof typeof STATES] ?? 'previous';
    const shareBp = state === 'canary' ? (one?.shareBp ?? 0) : 0;
    return { bundleId: id, state, shareBp, recordsChange: one?.recordsChange ?? 0 };
  });
  const { recordsChange = 0 } = sent.get(activeBundleId) ?? {};
  const active: AnnouncedBundle = { bundleId: activeBundleId, state: 'active', shareBp: 0, recordsChange };
  return { activeBundleId, bundles: [active, ...announced] };
}

/** Keeps the last message, so that a service can start while the pool is down. */
export interface AnnouncementFile {
  /** Returns the last message written; throws if the file is missing or damaged. */
  read(): Promise<unknown>;
  /** Replaces the message. Removes what killed processes left as they wrote theirs. */
  write(message: unknown): Promise<void>;
}

/** Returns the announcement file of a cache folder. */
export function createAnnouncementFile(cacheDir: string): AnnouncementFile {
  const name = 'announcement.json';
  const path = join(cacheDir, name);
  return {
    async read() {
      return JSON.parse(await readFile(path, 'utf8'));
    },
    async write(message) {
      await removeLeftFiles(cacheDir, name);
      const temporary = `${path}.${randomUUID()}`;
      await writeFile(temporary, JSON.stringify(message));
      await rename(temporary, path);
    },
  };
}
