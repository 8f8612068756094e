import type {
  FieldHealth as FieldHealthMessage,
  ReportSlotUsageRequest__Output,
  SlotFigures,
  SlotRuns as SlotRunsMessage,
} from '@collectivekv/contracts';
import { counted, invalidRequest, type UsageFigures } from '@collectivekv/domain';
import type { FieldHealth, UsageReport } from './pool-health.js';
import type { SlotRuns } from './slot-runs.js';

const MAX_FIELDS = 64;
const MAX_SLOTS = 200_000;
const COUNT_BYTES = 4;

/**
 * Reads an updater's report.
 * @throws invalid_request naming the field
 */
export function usageReportOf({ encodingId, fields }: ReportSlotUsageRequest__Output): UsageReport {
  if (!/^[0-9a-f]{16}$/.test(encodingId)) {
    throw invalidRequest('encoding_id', 'is not 16 hexadecimal characters', "send the encoding's id");
  }
  if (fields.length > MAX_FIELDS) {
    throw invalidRequest('fields', `has ${fields.length} entries, at most ${MAX_FIELDS} are allowed`, 'send fewer');
  }
  return {
    encodingId,
    fields: fields.map(({ field, slots, counts }, i) => ({
      field,
      slots: numbersOf(slots, `fields[${i}].slots`),
      counts: numbersOf(counts, `fields[${i}].counts`),
    })),
  };
}

/** Returns the health of a field as a message. */
export function healthMessage(health: FieldHealth): FieldHealthMessage {
  const { field, recent, recentRankShares, trained, drift, runs } = health;
  return {
    field,
    slotCount: recent.slotCount,
    recent: figuresMessage(recent, recentRankShares),
    trained: trained ? figuresMessage(trained, trained.rankShares) : null,
    drift: drift ?? null,
    runs: runsMessage(runs),
  };
}

function figuresMessage(figures: UsageFigures, rankShares: readonly number[]): SlotFigures {
  const { positionCount, usedCount, entropyBits, perplexity } = figures;
  return { positionCount, usedCount, entropyBits, perplexity, rankShares: [...rankShares] };
}

function runsMessage({ runSlots, recentPositions, usedSlots, trainedPositions }: SlotRuns): SlotRunsMessage {
  return {
    runSlots,
    recentPositions: bytesOf(recentPositions),
    usedSlots: bytesOf(usedSlots),
    trainedPositions: bytesOf(trainedPositions ?? new Uint32Array(0)),
  };
}

function bytesOf({ buffer, byteOffset, byteLength }: Uint32Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function numbersOf(bytes: Uint8Array, field: string): Uint32Array {
  if (bytes.length % COUNT_BYTES !== 0 || bytes.length > COUNT_BYTES * MAX_SLOTS) {
    const problem = `has ${counted(bytes.length, 'byte')}, a multiple of 4 up to ${COUNT_BYTES * MAX_SLOTS} is allowed`;
    throw invalidRequest(field, problem, 'send packed little-endian uint32');
  }
  return new Uint32Array(Uint8Array.from(bytes).buffer); // copied, because received bytes are seldom aligned
}
