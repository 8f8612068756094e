/**
 * Returns a count with its noun: `1 row`, `2 rows`.
 * @param plural default: the noun with an s
 */
export function counted(count: number, noun: string, plural = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : plural}`;
}
