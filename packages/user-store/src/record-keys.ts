/** Names of keys in Redis. The user id is a hash tag, so that all keys of a user share a cluster slot. */
export interface RecordKeys {
  /** Returns the key of a user's record. */
  record(userId: string, encodingId: string): string;
  /** Returns the key that receives the record if it is unreadable. */
  unreadable(userId: string, encodingId: string): string;
  /** Set of the ids of all encodings that ever had a record. */
  readonly encodings: string;
  /** Set of the ids of bundles that had a record before records were bound to encodings. It is only read. */
  readonly bundles: string;
  /** Channel on which stores announce users whose records were deleted or edited. */
  readonly erasures: string;
  /** Returns a glob pattern of the records of an encoding, or of all encodings for an empty id. */
  pattern(encodingId: string): string;
}

/** Characters of the encoding's id in a key. The record's header has the whole id. */
const ENCODING_CHARACTERS = 8;

/** Creates the names under a prefix. */
export function createRecordKeys(prefix: string): RecordKeys {
  const record = (userId: string, encodingId: string) =>
    `${prefix}:{${escapeTag(userId)}}:${encodingId.slice(0, ENCODING_CHARACTERS)}`;
  return {
    record,
    unreadable: (userId, encodingId) => `${record(userId, encodingId)}:corrupt`,
    encodings: `${prefix}:encodings`,
    bundles: `${prefix}:bundles`,
    erasures: `${prefix}:erasures`,
    pattern: (encodingId) =>
      `${prefix.replace(/[*?[\]\\]/g, '\\$&')}:{*}:${encodingId.slice(0, ENCODING_CHARACTERS).padEnd(ENCODING_CHARACTERS, '?')}`,
  };
}

/** Returns a user id without braces, which would end the hash tag early. */
function escapeTag(userId: string): string {
  return userId.replace(/[%{}]/g, (character) => `%${character.charCodeAt(0).toString(16)}`);
}
