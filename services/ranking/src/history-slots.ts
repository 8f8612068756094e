import { CkvError, MAX_COUNTED_SLOTS, slotHistogram } from '@collectivekv/domain';
import type { Metrics } from '@collectivekv/service-kit';
import { Histogram } from 'prom-client';
import type { RankBasis } from './rank-basis.js';

/** Counts the distinct slots of histories that were attended to. */
export interface HistorySlots {
  observe(basis: Pick<RankBasis, 'bundle' | 'rows'>): void;
}

/** One answer in so many is looked at: a history of 100,000 positions takes about 0.2 ms. */
const EVERY = 100;
const BUCKETS = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536];
/** Most route fields with a label of their own, over all bundles that were ever served. */
const MAX_FIELDS = 64;

/** Registers the metric. */
export function createHistorySlots({ registry }: Pick<Metrics, 'registry'>): HistorySlots {
  const distinct = new Histogram({
    name: 'ckv_history_distinct_slots',
    help: 'Distinct slots of a history by route field, of a sample of the answers',
    labelNames: ['field'] as const,
    buckets: BUCKETS,
    registers: [registry],
  });
  const fields = new Set<string>();
  let seen = 0;

  function labelOf(field: string): string {
    if (fields.size < MAX_FIELDS) fields.add(field);
    return fields.has(field) ? field : 'other';
  }

  return {
    observe({ bundle: { model }, rows }) {
      if (rows.length === 0 || seen++ % EVERY !== 0) return;
      for (const field of model.layout.fields) {
        if (field.kind !== 'route' || field.slots > MAX_COUNTED_SLOTS) continue;
        try {
          distinct.observe({ field: labelOf(field.name) }, slotHistogram(model, rows, field.name).slots.length);
        } catch (error) {
          if (!(error instanceof CkvError)) throw error; // a route beyond the pool, in a field that no graph reads
        }
      }
    },
  };
}
