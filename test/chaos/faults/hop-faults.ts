import { setTimeout as sleep } from 'node:timers/promises';
import type { TcpPipe } from '@collectivekv/private-redis';

/** A fault of a connection. It lasts until the promise resolves. */
export type HopFault = (pipe: TcpPipe, forMs: number) => Promise<void>;

/** The faults of a hop, by name. */
export const HOP_FAULTS = {
  /** Nothing passes in either direction. At the end everything is delivered, also what callers gave up. */
  async stall(pipe, forMs) {
    pipe.hold('requests', 'replies');
    await sleep(forMs);
    pipe.release();
  },
  /** Every packet takes long. */
  async slow(pipe, forMs) {
    pipe.delay(120);
    await sleep(forMs);
    pipe.delay(0);
  },
  /** The connections look open, and nothing passes any more. New ones are lost too, until the end. */
  async 'half-open'(pipe, forMs) {
    pipe.lose('requests', 'replies');
    await sleep(forMs);
    pipe.repair();
  },
  /** All connections break, and none can be made. */
  async cut(pipe, forMs) {
    pipe.cut();
    await sleep(forMs);
    pipe.accept();
  },
  /** Requests are held and their connections break. Long after the callers have tried again, the requests arrive. */
  async late(pipe, forMs) {
    pipe.hold('requests');
    await sleep(400);
    pipe.cutClients();
    await sleep(forMs);
    pipe.accept();
    pipe.release();
  },
  /** Requests arrive, their replies are lost, and then the connections break. */
  async 'lose-replies'(pipe, forMs) {
    pipe.lose('replies');
    await sleep(forMs);
    pipe.cut();
    pipe.repair();
    pipe.accept();
  },
} satisfies Record<string, HopFault>;
