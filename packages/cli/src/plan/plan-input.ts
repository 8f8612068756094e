import type { Manifest } from '@collectivekv/domain';
import type { LengthShare } from './history-lengths.js';

/** What a deployment has to carry, and the machines that it may use. */
export interface PlanInput {
  readonly users: number;
  /** Lengths of the users' records, positions. */
  readonly lengths: readonly LengthShare[];
  /** Interactions per second at the busiest time. */
  readonly ratePerS: number;
  /** Rank requests per second at the busiest time. */
  readonly ranksPerS: number;
  readonly candidates: number;
  /** Interactions of a `Record` call. */
  readonly callInteractions: number;
  /** True if `Record` calls have an idempotency key. */
  readonly keyedCalls: boolean;
  /** How long the queue must be able to hold what arrives, s. */
  readonly lagS: number;
  /** How long the event log keeps interactions, s; 0: there is none. */
  readonly eventLogS: number;
  readonly erasuresPerDay: number;
  readonly receiptTtlS: number;
  readonly userIdBytes: number;
  readonly itemIdBytes: number;
  readonly eventIdBytes: number;
  readonly keyPrefix: string;
  /** Encodings whose records are kept at once: 2 while a new one replaces another. */
  readonly encodings: number;
  /** Copies of each primary of Redis. */
  readonly redisReplicas: number;
  /** Memory of one machine of Redis, bytes. */
  readonly serverBytes: number;
  /** Cores of one replica of a service. */
  readonly cores: number;
  /** Share of the processor time that a plan uses up. */
  readonly utilisation: number;
  /** Replicas of each service beyond those that the load needs. */
  readonly spare: number;
}

/** The bundle of a plan. */
export interface PlannedBundle {
  readonly id: string;
  readonly manifest: Manifest;
  readonly strideBytes: number;
}

/** How large an input of a plan may be. */
export const PLAN_LIMITS = {
  users: 100_000_000_000,
  perSecond: 100_000_000,
  callInteractions: 500,
  lagS: 7 * 86_400,
  eventLogHours: 10 * 365 * 24,
  erasuresPerDay: 1_000_000_000,
  idBytes: 256,
  redisReplicas: 10,
  serverGib: 65_536,
  cores: 1_024,
  spare: 100,
} as const;
