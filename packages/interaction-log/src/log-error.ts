/** A log that cannot be read. The text names the file, the place, the problem and the remedy. */
export class LogError extends Error {
  override readonly name = 'LogError';
}
