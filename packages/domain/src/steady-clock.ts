/**
 * Returns Unix ms by a clock that never jumps: the time of the process's start, plus the time since then. All deadlines
 * and ages inside a process are by this clock. If somebody corrects the clock of the machine, `Date.now` jumps: a
 * deadline would pass at once or last for ever.
 */
export function steadyNowMs(): number {
  return performance.timeOrigin + performance.now();
}
