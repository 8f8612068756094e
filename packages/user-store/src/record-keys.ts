/** Names of keys in Redis. The user id is a hash tag, so that all keys of a user share a cluster slot. */
export interface RecordKeys {
  /** Returns the key of a user's record. */
  record(userId: string, bundleId: string): string;
  /** Returns the key that receives the record if it is unreadable. */
  quarantine(userId: string, bundleId: string): string;
  /** Set of the ids of all bundles that ever had a record. */
  readonly bundles: string;
  /** Channel on which stores announce users whose records were deleted or edited. */
  readonly erasures: string;
  /** Returns a glob pattern of the records of a bundle, or of all bundles for an empty id. */
  pattern(bundleId: string): string;
}

/** Characters of the bundle's id in a key. The record's header has the whole id. */
const BUNDLE_CHARACTERS = 8;

/** Creates the names under a prefix. */
export function createRecordKeys(prefix: string): RecordKeys {
  const record = (userId: string, bundleId: string) =>
    `${prefix}:{${escapeTag(userId)}}:${bundleId.slice(0, BUNDLE_CHARACTERS)}`;
  return {
    record,
    quarantine: (userId, bundleId) => `${record(userId, bundleId)}:corrupt`,
    bundles: `${prefix}:bundles`,
    erasures: `${prefix}:erasures`,
    pattern: (bundleId) =>
      `${prefix.replace(/[*?[\]\\]/g, '\\$&')}:{*}:${bundleId.slice(0, BUNDLE_CHARACTERS).padEnd(BUNDLE_CHARACTERS, '?')}`,
  };
}

/** Returns a user id without braces, which would end the hash tag early. */
function escapeTag(userId: string): string {
  return userId.replace(/[%{}]/g, (character) => `%${character.charCodeAt(0).toString(16)}`);
}
