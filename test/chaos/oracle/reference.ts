import { encodeRows, type LoadedBundle, loadBundle, rankScores } from '@collectivekv/bundles';
import type { RankInput } from '@collectivekv/client';
import { assembleRank } from '@collectivekv/domain';
import { createEngine } from '@collectivekv/engine';
import type { SentEvent, UserJournal } from '../load/user-journal.js';

/** Computes what records and answers must hold, on an engine of this process. */
export interface Reference {
  readonly bundle: LoadedBundle;
  /** Rows of the record after the first steps of a journal, oldest first. */
  rowsAfter(journal: UserJournal, stepCount: number): Promise<Buffer[]>;
  /** Rows of events that come with a request, behind a history. */
  rowsBehind(history: readonly Buffer[], events: readonly SentEvent[]): Promise<Buffer[]>;
  /** One score for each candidate. */
  scores(rows: readonly Buffer[], input: RankInput): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Loads a bundle and starts an engine. */
export async function createReference(bundleDir: string): Promise<Reference> {
  const engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 10_000 });
  const options = { graphs: ['encode', 'rank', 'gather'], verifyGolden: false, poolTables: true } as const;
  const bundle = await loadBundle(bundleDir, engine, options);
  const { model } = bundle;
  const { maxPositions, features } = model.manifest;
  const { strideBytes } = model.layout;
  const known = new Map<SentEvent, Buffer>();

  async function encode(events: readonly SentEvent[], history: readonly Buffer[]): Promise<Buffer[]> {
    const before = model.encodesWithHistory ? { history: Buffer.concat(history) } : {};
    const rows = Buffer.from(
      await encodeRows(
        bundle,
        events.map(({ input }) => input),
        before,
      ),
    );
    return events.map((_, i) => rows.subarray(i * strideBytes, (i + 1) * strideBytes));
  }

  /** Encodes the events that are new here. With history, a row depends on the rows that its record had. */
  async function learn(journal: UserJournal, stepCount: number): Promise<void> {
    for (let at = 0; at < stepCount; ) {
      const step = journal.steps[at];
      if (step?.kind !== 'record' || known.has(step.event)) {
        at++;
        continue;
      }
      const group: SentEvent[] = [];
      for (let next = journal.steps[at]; next?.kind === 'record' && at + group.length < stepCount; ) {
        group.push(next.event);
        next = journal.steps[at + group.length];
      }
      const history = model.encodesWithHistory ? journal.after(at).events.map(rowOf) : [];
      for (const [i, row] of (await encode(group, history)).entries()) known.set(group[i] as SentEvent, row);
      at += group.length;
    }
  }

  function rowOf(event: SentEvent): Buffer {
    const row = known.get(event);
    if (!row) throw new Error(`event ${event.input.eventId} is not encoded`);
    return row;
  }

  return {
    bundle,
    async rowsAfter(journal, stepCount) {
      await learn(journal, stepCount);
      return journal.after(stepCount).events.map(rowOf);
    },
    rowsBehind: (history, events) => encode(events, history),
    async scores(rows, { candidateIds, candidateFeatures = {}, contextFeatures = {} }) {
      const newest = Buffer.concat(rows.slice(-maxPositions));
      const candidates = {
        itemIndices: Int32Array.from(candidateIds, (id) => model.items.indexOf(id)),
        columns: Object.fromEntries(
          features.candidate.map(({ name, default: absent }) => [
            name,
            Float32Array.from(candidateFeatures[name] ?? candidateIds.map(() => absent)),
          ]),
        ),
        context: Object.fromEntries(
          features.context.map(({ name, default: absent }) => [name, contextFeatures[name] ?? absent]),
        ),
      };
      const feeds = assembleRank(model, newest, candidates, bundle.poolTables);
      return (await rankScores(bundle, 'rank', feeds, { partCandidates: 0 })).scores;
    },
    async close() {
      await bundle.close();
      await engine.close();
    },
  };
}
