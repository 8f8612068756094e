/** Counts of positions by slot, over the newest positions. */
export interface SlotUsage {
  /** Adds positions: the slot of each. Slots beyond the pool are left out. */
  add(slots: ArrayLike<number>, counts?: ArrayLike<number>): void;
  /** Returns the counts of the window, a copy. */
  counts(): Uint32Array;
}

/**
 * Creates a window over the use of slots. It holds between one and two times `windowMs`: the older half is dropped when
 * the newer one has become as old as the window. Takes 8 bytes a slot.
 * @param nowMs a monotonic clock, ms
 */
export function createSlotUsage(slotCount: number, windowMs: number, nowMs: () => number): SlotUsage {
  let older = new Uint32Array(slotCount);
  let newer = new Uint32Array(slotCount);
  let begunMs = nowMs();

  function turn(): void {
    const passed = Math.floor((nowMs() - begunMs) / windowMs);
    if (passed === 0) return;
    begunMs += passed * windowMs;
    [older, newer] = [newer, older];
    newer.fill(0);
    if (passed > 1) older.fill(0);
  }

  return {
    add(slots, counts) {
      turn();
      for (let i = 0; i < slots.length; i++) {
        const slot = slots[i] as number;
        if (slot < slotCount)
          newer[slot] = (newer[slot] as number) + (counts === undefined ? 1 : (counts[i] as number));
      }
    },
    counts() {
      turn();
      return newer.map((count, slot) => count + (older[slot] as number));
    },
  };
}
