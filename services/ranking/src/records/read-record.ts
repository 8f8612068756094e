/**
 * Reads a user's record of a bundle. Returns undefined if the user has none. Nobody waits after `deadlineMs`, by the
 * steady clock, but the promise may settle later.
 */
export type ReadRecord = (bundleId: string, userId: string, deadlineMs: number) => Promise<Uint8Array | undefined>;
