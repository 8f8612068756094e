import { openTcpPipe, type TcpPipe } from '@collectivekv/private-redis';

/** The hops of a fleet: who connects to whom. */
export const HOP_NAMES = [
  'backend-updater',
  'backend-ranking',
  'updater-redis',
  'updater-user-cache',
  'updater-pool',
  'user-cache-redis',
  'ranking-redis',
  'ranking-pool',
  'ranking-user-cache',
] as const;
/** A hop's name. */
export type HopName = (typeof HOP_NAMES)[number];

/** One way of a hop: from one replica to one replica. */
export interface Hop {
  readonly name: HopName;
  /** Replica that connects, by index; 0 for the backends. */
  readonly from: number;
  /** Replica that is connected to, by index. */
  readonly to: number;
  readonly pipe: TcpPipe;
}

/** The pipes of a fleet. */
export interface Hops {
  /** All ways of a hop; empty if the fleet has none. */
  of(name: HopName): readonly Hop[];
  /**
   * Opens the ways of one replica to all replicas of another service.
   * @returns the target that leads through the pipes
   */
  lead(name: HopName, from: number, addresses: readonly string[]): Promise<string>;
  close(): void;
}

/** Creates an empty set of hops. */
export function createHops(): Hops {
  const hops: Hop[] = [];
  return {
    of: (name) => hops.filter((hop) => hop.name === name),
    async lead(name, from, addresses) {
      const opened: Hop[] = [];
      for (const [to, address] of addresses.entries()) {
        opened.push({ name, from, to, pipe: await openTcpPipe(Number(address.split(':').at(-1))) });
      }
      hops.push(...opened);
      return opened.map(({ pipe }) => `127.0.0.1:${pipe.port}`).join(',');
    },
    close() {
      for (const { pipe } of hops) pipe.close();
    },
  };
}
