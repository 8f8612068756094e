/** Names of keys in Redis. The user stands in a hash tag, so that all of a user's keys share a cluster slot. */
export interface RecordKeys {
  record(userId: string, bundleId: string): string;
  /** Where an unreadable record is set aside. */
  quarantine(userId: string, bundleId: string): string;
  /** Set of the bundle ids that records were ever written for. */
  readonly bundles: string;
  /** Glob pattern of the records of a bundle, or of all for an empty id. */
  pattern(bundleId: string): string;
}

/** Characters of the bundle's id in a key; the record's header has the whole id. */
const BUNDLE_CHARACTERS = 8;

/** Creates the names under a prefix. */
export function createRecordKeys(prefix: string): RecordKeys {
  const record = (userId: string, bundleId: string) =>
    `${prefix}:{${escapeTag(userId)}}:${bundleId.slice(0, BUNDLE_CHARACTERS)}`;
  return {
    record,
    quarantine: (userId, bundleId) => `${record(userId, bundleId)}:corrupt`,
    bundles: `${prefix}:bundles`,
    pattern: (bundleId) =>
      `${prefix.replace(/[*?[\]\\]/g, '\\$&')}:{*}:${bundleId.slice(0, BUNDLE_CHARACTERS).padEnd(BUNDLE_CHARACTERS, '?')}`,
  };
}

/** A user id without the braces that would end the hash tag early. */
function escapeTag(userId: string): string {
  return userId.replace(/[%{}]/g, (character) => `%${character.charCodeAt(0).toString(16)}`);
}
