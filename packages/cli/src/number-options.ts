import { counted } from '@collectivekv/domain';
import { InvalidArgumentError } from 'commander';

/**
 * Creates a reader of whole numbers from `min` to `max`.
 * @returns the reader. It throws InvalidArgumentError, which commander prints behind the option's name.
 */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Give a whole number from ${min} to ${max}.`);
  };
}

/**
 * Reads `NAME=NUMBER,NUMBER,…` and adds it to the numbers of earlier options.
 * @throws InvalidArgumentError if a name or number is missing, or the name was given before
 */
export function namedNumbers(text: string, before: Record<string, number[]> = {}): Record<string, number[]> {
  const [name, list, ...rest] = text.split('=');
  const values = (list ?? '').split(',');
  if (!name || rest.length > 0 || !values.every(isNumber)) {
    throw new InvalidArgumentError('Give NAME=NUMBER, or NAME=NUMBER,NUMBER,… with one number for each item.');
  }
  refuseRepeated(name, before);
  return { ...before, [name]: values.map(Number) };
}

/**
 * Reads `NAME=NUMBER` and adds it to the numbers of earlier options.
 * @throws InvalidArgumentError if the name is missing or was given before, or if there is not exactly one number
 */
export function namedNumber(text: string, before: Record<string, number> = {}): Record<string, number> {
  const [name, number = '', ...rest] = text.split('=');
  if (!name || rest.length > 0 || !isNumber(number))
    throw new InvalidArgumentError('Give NAME=NUMBER, with a decimal point: 0.5.');
  refuseRepeated(name, before);
  return { ...before, [name]: Number(number) };
}

/** Returns the problem of a feature that has not one number for each item. A decimal comma makes two numbers of one. */
export function countProblem(numbers: Readonly<Record<string, readonly number[]>>, items: number): string | undefined {
  const wrong = Object.entries(numbers).find(([, values]) => values.length !== items);
  if (wrong === undefined) return undefined;
  const [name, { length }] = wrong;
  return `--feature ${name}: has ${counted(length, 'number')} for ${counted(items, 'item')}; give one for each item, with a decimal point`;
}

function refuseRepeated(name: string, before: object): void {
  if (Object.hasOwn(before, name)) throw new InvalidArgumentError(`${name} is given twice; leave one out.`);
}

/** True for digits with a point and an exponent. Number() would take hexadecimal, too. */
function isNumber(text: string): boolean {
  return /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text) && Number.isFinite(Number(text));
}
