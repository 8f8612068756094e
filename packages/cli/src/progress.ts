/** Prints a line to stderr, in the place of the one before on a terminal. */
export function progress(message: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${message}`);
  else console.error(message);
}

/** Prints a line to stderr that stays. */
export function warn(text: string): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  console.error(`warning: ${text}`);
}
