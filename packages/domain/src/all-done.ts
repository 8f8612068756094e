/**
 * Waits until every promise has settled, so that a failure leaves no work running.
 * @returns the results, in order
 * @throws the first failure, in order
 */
export async function allDone<T>(work: readonly Promise<T>[]): Promise<T[]> {
  const outcomes = await Promise.allSettled(work);
  return outcomes.map((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  });
}
