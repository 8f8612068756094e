/** Returns the texts that come earlier in the list, too: one entry for each repetition, in order. */
export function repeated(texts: readonly string[]): string[] {
  const met = new Set<string>();
  return texts.filter((text) => {
    const known = met.has(text);
    met.add(text);
    return known;
  });
}
