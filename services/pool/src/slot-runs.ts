/** Counts of runs of equally many slots, in the order of the slots. The last run may be shorter. */
export interface SlotRuns {
  readonly runSlots: number;
  readonly recentPositions: Uint32Array; // [runs]
  /** Slots that a recent position uses. */
  readonly usedSlots: Uint32Array; // [runs]
  /** Undefined without counts of training. */
  readonly trainedPositions: Uint32Array | undefined; // [runs]
}

const MOST_RUNS = 1_024;

/** Adds counts by slot up in at most 1,024 runs. A pool of at most 1,024 slots has a run for each slot. */
export function slotRuns(recent: Uint32Array, trained: Uint32Array | undefined): SlotRuns {
  const runSlots = Math.max(1, Math.ceil(recent.length / MOST_RUNS));
  return {
    runSlots,
    recentPositions: inRuns(recent, runSlots),
    usedSlots: inRuns(
      recent.map((count) => (count > 0 ? 1 : 0)),
      runSlots,
    ),
    trainedPositions: trained && inRuns(trained, runSlots),
  };
}

function inRuns(counts: Uint32Array, runSlots: number): Uint32Array {
  const sums = new Uint32Array(Math.ceil(counts.length / runSlots));
  for (let slot = 0, run = 0; slot < counts.length; slot += runSlots, run++) {
    for (const count of counts.subarray(slot, slot + runSlots)) sums[run] = (sums[run] as number) + count;
  }
  return sums;
}
