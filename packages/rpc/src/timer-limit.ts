/** Longest time of a timer in Node, ms. */
export const MAX_TIMER_MS = 2 ** 31 - 1;
