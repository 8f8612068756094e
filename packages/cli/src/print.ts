import Table from 'cli-table3';

/** Prints an answer, either as one JSON document or as lines for people. */
export function print(json: boolean, answer: object, lines: () => string): void {
  console.log(json ? JSON.stringify(answer, null, 2) : lines());
}

/** Returns a table with a heading. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const made = new Table({ head: [...head], style: { head: [], border: [] } });
  made.push(...rows.map((row) => row.map(String)));
  return made.toString();
}

/** Returns lines of a name and its value. */
export function pairs(entries: readonly (readonly [string, string | number])[]): string {
  const width = Math.max(...entries.map(([name]) => name.length));
  return entries.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

/** Returns Unix ms as ISO 8601, or a dash for 0. */
export function time(unixMs: number): string {
  return unixMs > 0 ? new Date(unixMs).toISOString() : '-';
}
