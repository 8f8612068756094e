import { pino } from 'pino';

const REDACTED = '[redacted]';

/** Names of fields that hold a secret, a user or a user's data, in lower case without separators. */
const SECRET = /^(token|authorization|password|secret|users?|uids?|rows?|records?|args)$/;
/** Part of every name for user ids: `userId`, `user_ids`, `callerUserID`. */
const USER_ID = /userid/;

/** An object this deep in a log line is not written. */
const MAX_DEPTH = 8;

/**
 * Returns what may be logged of a value: a copy of objects and arrays in which every field with a secret name is
 * replaced, at any depth. `args` is one of them, since a failed Redis command carries its keys and values there. Bytes
 * are replaced by their count. Errors become objects of their type, message, stack and fields, redacted as well.
 */
export function redacted(value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Error) return redacted(pino.stdSerializers.err(value), depth);
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (depth === MAX_DEPTH) return '[too deep]';
  if (Array.isArray(value)) return value.map((element) => redacted(element, depth + 1));
  if ('toJSON' in value) return value; // a date, say
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [name, isSecret(name) ? REDACTED : redacted(field, depth + 1)]),
  );
}

function isSecret(name: string): boolean {
  const letters = name.replace(/[^a-zA-Z]/g, '').toLowerCase();
  return SECRET.test(letters) || USER_ID.test(letters);
}
