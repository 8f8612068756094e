/**
 * Reads a user's record of an encoding. Returns undefined if the user has none. Nobody waits after `deadlineMs`, by the
 * steady clock, but the promise may settle later.
 */
export type ReadRecord = (encodingId: string, userId: string, deadlineMs: number) => Promise<Uint8Array | undefined>;
