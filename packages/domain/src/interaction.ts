import { type CkvError, invalidRequest } from './errors.js';

/** Bounds of the fields that callers send. */
export const LIMITS = {
  eventIdBytes: 128,
  idBytes: 256,
  idempotencyKeyBytes: 128,
  actionBytes: 64,
  featureCount: 64,
  featureNameBytes: 64,
  /** 3 March 1973. A smaller number is a time in seconds. */
  minTimestampMs: 100_000_000_000,
  /** The record's header has 48 bits for a time. */
  timestampMs: 2 ** 48 - 1,
  recordInteractions: 1_000,
  candidates: 10_000,
  recentInteractions: 100,
  maxStalenessMs: 3_600_000,
  rankManyRequests: 64,
  /** Candidates of a request that asks for an explanation. */
  explainedCandidates: 10,
  /** Positions of each candidate that an explanation shows one by one. */
  explainedPositions: 10,
  /** Key slots, and value slots, of one Gather call. */
  gatherSlots: 100_000,
} as const;

/** One event: a user met an item. */
export interface Interaction {
  readonly eventId: string;
  readonly userId: string;
  readonly itemId: string;
  /** Unix milliseconds. */
  readonly timestampMs: number;
  readonly action: string;
  readonly features: Readonly<Record<string, number>>;
}

/**
 * Reads an id: a string of 1 to `maxBytes` bytes of UTF-8. A string with half a surrogate pair has no UTF-8 form.
 * @param field path of the field, for errors
 * @throws invalid_request naming the field, the limit and the remedy
 */
export function parseId(value: unknown, field: string, maxBytes: number): string {
  if (typeof value !== 'string') throw invalidRequest(field, `is ${typeName(value)}, not a string`, 'send a string');
  if (!value.isWellFormed()) throw notWellFormed(field);
  const bytes = Buffer.byteLength(value);
  if (bytes === 0) throw invalidRequest(field, `is missing or empty, 1 to ${maxBytes} bytes are required`, 'set it');
  if (bytes > maxBytes) {
    throw invalidRequest(field, `has ${bytes} bytes, at most ${maxBytes} are allowed`, 'send a shorter one');
  }
  return value;
}

/** Returns the error of a text that has no UTF-8 form. */
export function notWellFormed(field: string): CkvError {
  return invalidRequest(field, 'has half of a surrogate pair, which no UTF-8 can hold', 'send text that is not cut');
}

/** A random UUID, version 4, in lower case. A version that is made of a name could name a user. */
const RECEIPT_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** The remedy for the id of a receipt that is looked up. */
export const WHOLE_RECEIPT_ID = 'give the whole id of the receipt, 36 characters';

/**
 * Reads the id of a receipt, which its sender chose at random.
 * @param remedy what to send instead; by default, for a new receipt
 * @throws invalid_request naming the field and the remedy
 */
export function parseReceiptId(value: unknown, field: string, remedy = 'send a new random UUID, or none'): string {
  if (typeof value === 'string' && RECEIPT_ID.test(value)) return value;
  throw invalidRequest(field, 'is not a UUID of version 4 in lower case', remedy);
}

/**
 * Reads an interaction from parsed JSON or from a decoded message. Ignores unknown keys.
 * @param path path of the interaction, for errors: `interactions[3]`
 * @throws invalid_request naming the field, the limit and the remedy
 */
export function parseInteraction(value: unknown, path: string): Interaction {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidRequest(path, `is ${typeName(value)}, not an interaction`, 'send an object');
  }
  const raw = value as Record<string, unknown>;
  return {
    eventId: parseId(raw.eventId, `${path}.eventId`, LIMITS.eventIdBytes),
    userId: parseId(raw.userId, `${path}.userId`, LIMITS.idBytes),
    itemId: parseId(raw.itemId, `${path}.itemId`, LIMITS.idBytes),
    timestampMs: parseTimestamp(raw.timestampMs, `${path}.timestampMs`),
    action: parseAction(raw.action, `${path}.action`),
    features: parseFeatures(raw.features, `${path}.features`),
  };
}

/**
 * Reads an interaction that is to be forgotten. Only event and user are required. Without an item, the interaction can
 * be found by its event only.
 * @throws invalid_request naming the field, the limit and the remedy
 */
export function parseForgotten(value: unknown, path: string): Interaction {
  const raw = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  const complete = { ...raw, timestampMs: raw.timestampMs || LIMITS.minTimestampMs };
  if (raw.itemId) return parseInteraction(complete, path);
  return { ...parseInteraction({ ...complete, itemId: '-' }, path), itemId: '' };
}

function parseTimestamp(value: unknown, field: string): number {
  const { minTimestampMs, timestampMs: maxTimestampMs } = LIMITS;
  if (Number.isInteger(value) && Number(value) >= minTimestampMs && Number(value) <= maxTimestampMs) {
    return Number(value);
  }
  const isInSeconds = typeof value === 'number' && value >= 1 && value < minTimestampMs;
  throw invalidRequest(
    field,
    `is ${describe(value)}, an integer from ${minTimestampMs} to ${maxTimestampMs} is required`,
    isInSeconds ? 'this looks like seconds: send Unix milliseconds' : 'send Unix milliseconds',
  );
}

function parseAction(value: unknown, field: string): string {
  if (value === undefined || value === '') return '';
  return parseId(value, field, LIMITS.actionBytes);
}

function parseFeatures(value: unknown, field: string): Record<string, number> {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw invalidRequest(field, `is ${typeName(value)}, not an object of numbers`, 'send {"name": number}');
  }
  const entries = Object.entries(value);
  if (entries.length > LIMITS.featureCount) {
    throw invalidRequest(
      field,
      `has ${entries.length} entries, at most ${LIMITS.featureCount} are allowed`,
      'send fewer',
    );
  }
  for (const [name, number] of entries) {
    parseId(name, `${field} (a name)`, LIMITS.featureNameBytes);
    if (typeof number !== 'number' || !Number.isFinite(number)) {
      throw invalidRequest(
        `${field}.${name}`,
        `is ${describe(number)}, a finite number is required`,
        'send a number or leave it out',
      );
    }
  }
  return Object.fromEntries(entries);
}

function typeName(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

function describe(value: unknown): string {
  return typeof value === 'number' ? String(value) : typeName(value);
}

/**
 * Returns what a log may have of an error's field: the path of the schema. The sender chooses the names of features,
 * which may name a user, so they become `*`.
 */
export function loggedField(field: string | undefined): string | undefined {
  return field?.replace(/\.features\..*$/s, '.features.*');
}
