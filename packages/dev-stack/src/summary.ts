import Table from 'cli-table3';

/** Measurements of a quickstart, as written to .ckv/summary.json. */
export interface Summary {
  readonly bundleId: string;
  readonly users: number;
  readonly interactions: number;
  /** Positions in Redis after the history was streamed. */
  readonly positions: number;
  /** Expected positions: every interaction once, up to the bundle's maxPositions per user. */
  readonly expectedPositions: number;
  /** Number of different items in a replayed log that the bundle does not know. */
  readonly unknownItems: number;
  /** Measured from the first interaction queued to the last interaction in its record. */
  readonly interactionsPerSecond: number;
  /** Redis's MEMORY USAGE of all records, Redis keys included, divided by the positions. */
  readonly bytesPerPosition: number;
  /** 2 x dModel x 4 per attention layer: keys and values in float32. */
  readonly fullKvBytesPerPosition: number;
  readonly compressionRatio: number;
  /** Candidates of each rank call. */
  readonly candidates: number;
  /** Time of a rank call, measured in the client. */
  readonly rankP50Ms: number;
  readonly rankP99Ms: number;
  /** Time from recording an interaction to the first answer that includes it. */
  readonly freshnessP50Ms: number;
  readonly freshnessP99Ms: number;
  /** AUC of the served scores. Null in a replay, which does not use labels. */
  readonly aucWithHistory: number | null;
  readonly aucWithoutHistory: number | null;
  readonly failedRequests: number;
  /** Resident memory by service, MB (10^6 bytes). */
  readonly residentMb: Readonly<Record<string, number>>;
}

/** Returns the summary as a table for people. */
export function summaryTable(summary: Summary): string {
  const table = new Table({ style: { head: [], border: [] }, colAligns: ['left', 'right'] });
  const count = (value: number) => value.toLocaleString('en');
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  const auc = (value: number | null) =>
    value === null ? 'not measured: a replay does not use labels' : value.toFixed(4);
  table.push(
    ['users', count(summary.users)],
    ['interactions', count(summary.interactions)],
    ['positions in Redis (expected)', `${count(summary.positions)} (${count(summary.expectedPositions)})`],
    ['interactions per second, queue to record', count(summary.interactionsPerSecond)],
    ['bytes per position in Redis, Redis keys included', summary.bytesPerPosition.toFixed(2)],
    ['bytes per position of a full KV cache', count(summary.fullKvBytesPerPosition)],
    ['compressed to', `${(summary.compressionRatio * 100).toFixed(3)} %`],
    [`rank of ${summary.candidates} candidates, p50 / p99`, `${ms(summary.rankP50Ms)} / ${ms(summary.rankP99Ms)}`],
    ['event to servable, p50 / p99', `${ms(summary.freshnessP50Ms)} / ${ms(summary.freshnessP99Ms)}`],
    ['AUC with history', auc(summary.aucWithHistory)],
    ['AUC with history ignored', auc(summary.aucWithoutHistory)],
    ['failed requests', count(summary.failedRequests)],
    [
      'resident memory, MB',
      Object.entries(summary.residentMb)
        .map(([name, mb]) => `${name} ${mb}`)
        .join(', '),
    ],
  );
  return table.toString();
}
