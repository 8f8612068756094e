import { type CkvError, counted, invalidRequest, notWellFormed } from '@collectivekv/domain';

/**
 * Checks that an object has no other keys than the known ones, so that a misspelt option is not ignored.
 * @param path prefix of field names in errors: `inputs[3].`, or empty
 * @param shown the keys that the error lists
 * @throws invalid_request naming the field and the known ones
 */
export function checkKeys(value: unknown, known: readonly string[], path: string, shown = known): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidRequest(path.replace(/\.$/, '') || 'options', `is ${nameOf(value)}, not an object`, 'send an object');
  }
  const stranger = Object.keys(value).find((key) => !known.includes(key));
  if (stranger !== undefined) throw notOneOf(`${path}${stranger}`, 'is not a known field', shown);
}

/**
 * Checks a whole number, if it is given. On the wire, a fraction would be cut and a number of 2^32 or more would wrap.
 * @throws invalid_request naming the field and its range
 */
export function checkWholeNumber(value: unknown, field: string, min: number, max: number): void {
  if (value === undefined || (Number.isInteger(value) && Number(value) >= min && Number(value) <= max)) return;
  throw invalidRequest(field, `is ${nameOf(value)}, a whole number from ${min} to ${max} is required`, 'correct it');
}

/** Longest time that a timer takes, ms: 24 days. */
const MAX_MS = 2 ** 31 - 1;

/**
 * Checks a time span in ms, if it is given. A span that is used up, 0 or less, is allowed: the call ends at once.
 * @throws invalid_request naming the field
 */
export function checkMs(value: unknown, field: string): void {
  if (value === undefined || (Number.isFinite(value) && Number(value) <= MAX_MS)) return;
  throw invalidRequest(field, `is ${nameOf(value)}, a number of at most ${MAX_MS} is required`, 'send milliseconds');
}

/**
 * Checks a text, if it is given. Bounds of its length are the service's to check.
 * @throws invalid_request naming the field, if it is not a string or no UTF-8 can hold it
 */
export function checkText(value: unknown, field: string): void {
  if (value === undefined || (typeof value === 'string' && value.isWellFormed())) return;
  if (typeof value === 'string') throw notWellFormed(field);
  throw invalidRequest(field, `is ${nameOf(value)}, not a string`, 'send a string');
}

/**
 * Checks true or false, if it is given.
 * @throws invalid_request naming the field
 */
export function checkFlag(value: unknown, field: string): void {
  if (value === undefined || typeof value === 'boolean') return;
  throw invalidRequest(field, `is ${nameOf(value)}, true or false is required`, 'correct it');
}

/**
 * Checks the numbers of a feature. Text and null would become numbers on the wire.
 * @param count how many there must be
 * @throws invalid_request naming the first value that is not a finite number
 */
export function checkNumbers(values: ArrayLike<unknown>, field: string, count: number): void {
  if (values === null || typeof values !== 'object' || !Number.isInteger(values.length)) {
    throw invalidRequest(field, `is ${nameOf(values)}, not a list of numbers`, 'send one number for each candidate');
  }
  if (values.length !== count) {
    throw invalidRequest(field, `has ${counted(values.length, 'number')}, not ${count}`, 'send one for each candidate');
  }
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) checkNumber(values[i], `${field}[${i}]`); // no field name is made for a good value
  }
}

/** Checks a number, as {@link checkNumbers} does. */
export function checkNumber(value: unknown, field: string): void {
  if (Number.isFinite(value)) return;
  throw invalidRequest(
    field,
    `is ${nameOf(value)}, a finite number is required`,
    'leave the feature out for its default',
  );
}

/** Returns the error of a value that is not one of the known ones. */
export function notOneOf(field: string, limit: string, known: readonly string[]): CkvError {
  return invalidRequest(field, limit, `use one of: ${known.join(', ')}`);
}

/** Returns what a value is, for errors. The text of a string is not told: it may be a user's. */
export function nameOf(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
