import { CkvError } from '@collectivekv/domain';
import { type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import { readScript } from './lua-script.js';
import { leaseKeys } from './queue-names.js';

/**
 * A member's unbroken holding of one partition. Every acquisition of a partition begins a new term, so (partition,
 * term) names at most one holder. The queue's scripts refuse a member whose term is over.
 */
export interface PartitionTerm {
  readonly partition: number;
  readonly member: string;
  /** Counts the acquisitions of the partition, from 1. */
  readonly term: number;
}

/** The leases of one member after a heartbeat. */
export interface HeldLeases {
  /** One term for each partition that the member holds. */
  readonly terms: readonly PartitionTerm[];
  /** When these leases end, Unix ms by Redis's clock. */
  readonly endsMs: number;
  /** The member's fair share of the partitions. */
  readonly share: number;
}

/**
 * Which member holds which partition. Redis keeps it in one cluster slot with the queues. Throws
 * dependency_unavailable.
 */
export interface LeaseTable {
  /** Announces the member, renews its leases, and takes free partitions up to its fair share. */
  hold(member: string, leaseMs: number): Promise<HeldLeases>;
  /**
   * Gives partitions back, unless a later heartbeat has renewed their leases: Redis may execute this call late.
   * @param endsMs {@link HeldLeases.endsMs} of the member's last heartbeat
   */
  release(member: string, partitions: readonly number[], endsMs: number): Promise<void>;
  /** Gives partitions back; the member no longer counts for the fair shares, and makes no further heartbeat. */
  leave(member: string, partitions: readonly number[]): Promise<void>;
}

/**
 * Largest difference between the clocks of the queue's Redis and of the records' Redis, ms. Leases and claims end by the
 * clock of the queue's Redis, and a write of a record is refused by the clock of the records' Redis.
 */
export const CLOCK_MARGIN_MS = 500;

interface Commands {
  ckvHoldLeases(...args: (string | number)[]): Promise<number[]>;
  ckvReleaseLeases(...args: (string | number)[]): Promise<number>;
}

const HOLD = readScript('hold-leases-3.lua');
const RELEASE = readScript('release-leases-2.lua');
/** Stands for every end of a lease. */
const ANY_END = 0;

/** Opens the table of leases. */
export function openLeaseTable(client: RedisClient, keyPrefix: string, partitionCount: number): LeaseTable {
  client.defineCommand('ckvHoldLeases', HOLD);
  client.defineCommand('ckvReleaseLeases', RELEASE);
  const commands = client as unknown as Commands;
  const keys = leaseKeys(keyPrefix);

  const giveBack = (member: string, leaves: boolean, endsMs: number, partitions: readonly number[]) =>
    reachingRedis(async () => {
      await commands.ckvReleaseLeases(keys.members, keys.leases, member, leaves ? 1 : 0, endsMs, ...partitions);
    });

  return {
    hold: (member, leaseMs) =>
      reachingRedis(async () => {
        const { members, leases, terms } = keys;
        const answer = await commands.ckvHoldLeases(members, leases, terms, member, leaseMs, partitionCount);
        const [share = 0, endsMs = 0, ...flat] = answer;
        return { share, endsMs, terms: termsOf(member, flat) };
      }),
    release: (member, partitions, endsMs) => giveBack(member, false, endsMs, partitions),
    leave: (member, partitions) => giveBack(member, true, ANY_END, partitions),
  };
}

/** Returns the error for a member whose term is over. It is transient: the partition's jobs are not at fault. */
export function termOver({ partition, term }: PartitionTerm): CkvError {
  return new CkvError('conflict', `partition ${partition} is no longer held: term ${term} is over`);
}

function termsOf(member: string, flat: readonly number[]): PartitionTerm[] {
  const terms: PartitionTerm[] = [];
  for (let i = 0; i < flat.length; i += 2) terms.push({ partition: flat[i] ?? 0, member, term: flat[i + 1] ?? 0 });
  return terms;
}
