import { type BundleModel, MAX_COUNTED_SLOTS, routesOf, steadyNowMs, toCkvError } from '@collectivekv/domain';
import type { GrpcClient } from '@collectivekv/rpc';
import type { Logger } from '@collectivekv/service-kit';

/** Tells the pool how appended positions use its slots. */
export interface SlotReports {
  /** Counts the routes of rows. */
  observe(model: BundleModel, rows: Uint8Array): void;
  /** Sends what was counted. A report that fails is lost: the figures are statistics. */
  send(): Promise<void>;
  close(): void;
}

const PERIOD_MS = 10_000;
const TIMEOUT_MS = 5_000;
/** Most slots of a report, over all fields. Positions of further slots are not counted until the report is sent. */
const MAX_SLOTS = 200_000;

/** Counts by slot, by field. */
type FieldCounts = Map<string, Map<number, number>>;

/** Creates the reports. They are sent every 10 s. */
export function createSlotReports({
  pool,
  log,
}: {
  readonly pool: GrpcClient<'PoolService'>;
  readonly log: Logger;
}): SlotReports {
  let byEncoding = new Map<string, FieldCounts>();
  let slotCount = 0;
  let failed = false;
  const timer = setInterval(() => void send(), PERIOD_MS);
  timer.unref();

  function count(counts: Map<number, number>, slot: number): void {
    const before = counts.get(slot);
    if (before === undefined && slotCount >= MAX_SLOTS) return;
    if (before === undefined) slotCount++;
    counts.set(slot, (before ?? 0) + 1);
  }

  async function send(): Promise<void> {
    const sent = byEncoding;
    byEncoding = new Map();
    slotCount = 0;
    for (const [encodingId, fields] of sent) {
      const request = { encodingId, fields: [...fields].map(([field, counts]) => ({ field, ...packed(counts) })) };
      try {
        await pool.call('ReportSlotUsage', request, { deadlineMs: steadyNowMs() + TIMEOUT_MS });
        failed = false;
      } catch (thrown) {
        const { reason, message } = toCkvError(thrown);
        if (!failed) log.warn({ reason, problem: message }, 'the pool takes no report of slots');
        failed = true;
      }
    }
  }

  return {
    observe({ encodingId, layout }, rows) {
      for (const field of layout.fields) {
        if (field.kind !== 'route' || field.slots > MAX_COUNTED_SLOTS) continue;
        const fields = entryOf(byEncoding, encodingId, () => new Map<string, Map<number, number>>());
        const counts = entryOf(fields, field.name, () => new Map<number, number>());
        for (const slot of routesOf(layout, rows, field.name)) count(counts, slot);
      }
    },
    send,
    close: () => clearInterval(timer),
  };
}

function entryOf<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

function packed(counts: ReadonlyMap<number, number>): { readonly slots: Buffer; readonly counts: Buffer } {
  return { slots: uint32Bytes([...counts.keys()]), counts: uint32Bytes([...counts.values()]) };
}

function uint32Bytes(values: readonly number[]): Buffer {
  return Buffer.from(Uint32Array.from(values).buffer);
}
