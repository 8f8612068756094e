const NONE = '–';

/** Returns a count with separators. */
export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? NONE : Math.round(value).toLocaleString('en');
}

/** Returns a number with three digits. */
export function digits(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  if (Math.abs(value) >= 1_000) return count(value);
  return String(Number(value.toPrecision(3)));
}

/** Returns milliseconds. */
export function ms(value: number | null | undefined): string {
  return value === null || value === undefined ? NONE : `${digits(value)} ms`;
}

/** Returns a share of 0 to 1 as a percentage. */
export function percent(share: number | null | undefined): string {
  return share === null || share === undefined ? NONE : `${digits(100 * share)} %`;
}

/** Returns bytes in units of 1,000. */
export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let [size, unit] = [value, 0];
  while (size >= 1_000 && unit < units.length - 1) [size, unit] = [size / 1_000, unit + 1];
  return `${digits(size)} ${units[unit]}`;
}

/** Returns a duration: `40 s`, `12 min`, `3.5 h`, `2 days`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 1) return seconds === 0 ? '0 s' : `${digits(1_000 * seconds)} ms`;
  if (seconds < 120) return `${digits(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${(seconds / 3_600).toFixed(1)} h` : `${Math.round(seconds / 86_400)} days`;
}

/** Returns a time of this place. */
export function time(atMs: number): string {
  return atMs === 0 ? NONE : new Date(atMs).toLocaleString('en-GB');
}

/** Returns a number with its sign. */
export function signed(value: number): string {
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`;
}
