import { InvalidArgumentError } from 'commander';

/** Reads a whole number. */
export function wholeNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError('a whole number is required.');
  return value;
}

/** Collects `name=1,2,3` options. */
export function namedNumbers(text: string, before: Record<string, number[]> = {}): Record<string, number[]> {
  const [name = '', list = ''] = text.split('=');
  const values = list.split(',').map(Number);
  if (name === '' || list === '' || values.some((value) => !Number.isFinite(value))) {
    throw new InvalidArgumentError('name=number, or name=number,number,… is required.');
  }
  return { ...before, [name]: values };
}

/** The first number of every name. */
export function single(columns: Record<string, number[]> | undefined): Record<string, number> {
  return Object.fromEntries(Object.entries(columns ?? {}).map(([name, values]) => [name, values[0] ?? 0]));
}
