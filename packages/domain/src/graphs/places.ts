/** Returns for each number its place among the distinct numbers, ascending. */
export function placesAmongDistinct(numbers: Int32Array): Int32Array {
  const distinct = Int32Array.from(new Set(numbers)).sort();
  const placeOf = new Map(Array.from(distinct, (number, place) => [number, place]));
  return numbers.map((number) => placeOf.get(number) ?? 0);
}
