import Table from 'cli-table3';

/** Prints an answer as one JSON document, or as lines for people. */
export function print(json: boolean, answer: object, lines: () => string): void {
  console.log(json ? JSON.stringify(answer, null, 2) : lines());
}

/** A table with a heading. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const made = new Table({ head: [...head], style: { head: [], border: [] } });
  made.push(...rows.map((row) => row.map(String)));
  return made.toString();
}

/** Names and values, one a line. */
export function pairs(entries: readonly (readonly [string, string | number])[]): string {
  const width = Math.max(...entries.map(([name]) => name.length));
  return entries.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

/** Unix ms as ISO 8601, or a dash for 0. */
export function time(unixMs: number): string {
  return unixMs > 0 ? new Date(unixMs).toISOString() : '-';
}
