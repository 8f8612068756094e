import Table from 'cli-table3';

/** What a quickstart measured; written to .ckv/summary.json. */
export interface Summary {
  readonly bundleId: string;
  readonly users: number;
  readonly interactions: number;
  /** Positions in Redis after the stream. */
  readonly positions: number;
  /** Positions there should be: every interaction once, up to the bundle's maxPositions a user. */
  readonly expectedPositions: number;
  /** Distinct items of a replayed log that the bundle does not know. */
  readonly unknownItems: number;
  /** From the first one queued to the last one in its record. */
  readonly interactionsPerSecond: number;
  /** Redis's own MEMORY USAGE of all records, keys included, over the positions. */
  readonly bytesPerPosition: number;
  /** 2 x dModel x 4 an attention layer: keys and values in float32. */
  readonly fullKvBytesPerPosition: number;
  readonly compressionRatio: number;
  /** Candidates of a rank call. */
  readonly candidates: number;
  /** Whole rank calls seen from the client. */
  readonly rankP50Ms: number;
  readonly rankP99Ms: number;
  /** From recording an interaction to the first answer that takes it into account. */
  readonly freshnessP50Ms: number;
  readonly freshnessP99Ms: number;
  /** Of served scores; null where a replayed log has no labels for candidates. */
  readonly aucWithHistory: number | null;
  readonly aucWithoutHistory: number | null;
  readonly failedRequests: number;
  /** Resident memory by service, MB. */
  readonly residentMb: Readonly<Record<string, number>>;
}

/** The summary as a table for people. */
export function summaryTable(summary: Summary): string {
  const table = new Table({ style: { head: [], border: [] }, colAligns: ['left', 'right'] });
  const count = (value: number) => value.toLocaleString('en');
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  const auc = (value: number | null) => (value === null ? 'not measured in a replay' : value.toFixed(4));
  table.push(
    ['users', count(summary.users)],
    ['interactions', count(summary.interactions)],
    ['positions in Redis (expected)', `${count(summary.positions)} (${count(summary.expectedPositions)})`],
    ['interactions a second, queue to record', count(summary.interactionsPerSecond)],
    ['bytes a position, all of Redis counted', summary.bytesPerPosition.toFixed(2)],
    ['bytes a position, full KV cache', count(summary.fullKvBytesPerPosition)],
    ['compression', `${(summary.compressionRatio * 100).toFixed(3)} %`],
    [`rank p50 / p99, ${summary.candidates} candidates`, `${ms(summary.rankP50Ms)} / ${ms(summary.rankP99Ms)}`],
    ['event to servable p50 / p99', `${ms(summary.freshnessP50Ms)} / ${ms(summary.freshnessP99Ms)}`],
    ['AUC with history', auc(summary.aucWithHistory)],
    ['AUC without history', auc(summary.aucWithoutHistory)],
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
