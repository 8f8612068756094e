import { InvalidArgumentError } from 'commander';

/**
 * Creates a reader of whole numbers from `min` to `max`.
 * @returns the reader. It throws InvalidArgumentError, which commander prints behind the option's name.
 */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isInteger(value) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Give a whole number from ${min} to ${max}.`);
  };
}

/**
 * Reads `NAME=NUMBER,NUMBER,…` and adds it to the numbers of earlier options.
 * @throws InvalidArgumentError if a name or number is missing
 */
export function namedNumbers(text: string, before: Record<string, number[]> = {}): Record<string, number[]> {
  const [name, list, ...rest] = text.split('=');
  const values = (list ?? '').split(',');
  if (!name || rest.length > 0 || !values.every(isNumber)) {
    throw new InvalidArgumentError('Give NAME=NUMBER, or NAME=NUMBER,NUMBER,… with one number for each item.');
  }
  return { ...before, [name]: values.map(Number) };
}

/**
 * Reads `NAME=NUMBER` and adds it to the numbers of earlier options.
 * @throws InvalidArgumentError if the name is missing, or if there is not exactly one number
 */
export function namedNumber(text: string, before: Record<string, number> = {}): Record<string, number> {
  const [name, number = '', ...rest] = text.split('=');
  if (!name || rest.length > 0 || !isNumber(number)) throw new InvalidArgumentError('Give NAME=NUMBER.');
  return { ...before, [name]: Number(number) };
}

function isNumber(text: string): boolean {
  return text.trim() !== '' && Number.isFinite(Number(text));
}
