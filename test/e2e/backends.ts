import { expect, vi } from 'vitest';
import { type E2eStack, interactionsOf } from './e2e-stack.js';

/** Backends that stream interactions while processes die or stall. */
export interface Backends {
  /** Waits until `count` more interactions were accepted. Fails if a backend fails. */
  untilMoreAccepted(count: number): Promise<void>;
  /** Ends the streams. Then expects every accepted interaction once, and each user's interactions in order. */
  stopAndCheck(): Promise<void>;
}

/** Interactions of one call after another. */
const SIZES = [1, 2, 5, 1, 33, 3, 14, 15, 1, 8];
const APPLIED_WITHIN_MS = 60_000;

/**
 * Starts a backend for each user. It sends call n after call n - 1 was accepted and the interactions of call n - 2 are
 * in the record. The queue is then never empty and never full.
 */
export function startBackends(e2e: E2eStack, users: readonly string[]): Backends {
  const sent = new Map(users.map((userId) => [userId, 0]));
  let streaming = true;

  async function backend(userId: string): Promise<void> {
    for (let round = 0; streaming; round++) {
      const from = sent.get(userId) ?? 0;
      const size = SIZES[round % SIZES.length] ?? 1;
      await e2e.client.recordInteractions(interactionsOf(userId, size, from));
      sent.set(userId, from + size);
      if (from > 0) await e2e.untilApplied(userId, from, APPLIED_WITHIN_MS);
    }
  }
  const backends = Promise.all(users.map(backend));
  backends.catch(() => undefined); // thrown where it is awaited
  const sentCount = () => [...sent.values()].reduce((sum, count) => sum + count, 0);

  return {
    async untilMoreAccepted(count) {
      const wanted = sentCount() + count;
      const accepted = vi.waitUntil(() => sentCount() >= wanted, { timeout: APPLIED_WITHIN_MS, interval: 5 });
      await Promise.race([accepted, backends]);
    },

    async stopAndCheck() {
      streaming = false;
      await backends;
      for (const userId of users) {
        const count = sent.get(userId) ?? 0;
        const record = await e2e.untilApplied(userId, count, APPLIED_WITHIN_MS);
        expect({ userId, applied: record.lifetimeCount }).toEqual({ userId, applied: count });
        await e2e.expectRows(record, interactionsOf(userId, count));
      }
    },
  };
}
