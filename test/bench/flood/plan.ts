/** A time with a constant rate of arrivals, or with a constant number of requests in flight. */
export type FloodPhase = {
  readonly name: string;
  readonly durationMs: number;
} & ({ readonly ratePerS: number } | { readonly inFlight: number });

/** What a flood sends. */
export interface FloodPlan {
  readonly port: number;
  readonly connections: number;
  /** `/package.Service/Method`. */
  readonly path: string;
  /** `calls`: each request is a call. `streams`: requests share streams, as those of the SDK do. */
  readonly kind: 'calls' | 'streams';
  /** Encoded messages, sent in turn. */
  readonly messages: readonly Uint8Array[];
  /** Places in each message of 8 digits, which become the number of the request. Default: none. */
  readonly numberAt?: readonly (readonly number[])[];
  /** When a caller gives up, ms after the request was due. */
  readonly timeoutMs: number;
  readonly phases: readonly FloodPhase[];
  /** Seed of the gaps between requests, which are exponential. */
  readonly seed: number;
}

/** The fate of requests, counted by when they were due. */
export interface FloodCounts {
  readonly sent: number;
  /** Answered with OK before the caller gave up. */
  readonly answered: number;
  /** RESOURCE_EXHAUSTED. */
  readonly refused: number;
  readonly refusedWithDelay: number;
  /** The caller gave up, or the server said DEADLINE_EXCEEDED. */
  readonly late: number;
  /** Any other status, by its code; `lost` if the connection or the stream broke. */
  readonly failed: Readonly<Record<string, number>>;
}

/** Percentiles of a time, ms. */
export interface FloodTimes {
  readonly p50: number;
  readonly p99: number;
}

/** Measurements of a phase. */
export interface FloodPhaseResult extends FloodCounts {
  readonly name: string;
  /** From when an answered request was due to its answer. */
  readonly answeredMs: FloodTimes;
  /** From when a refused request was due to its refusal. */
  readonly refusedMs: FloodTimes;
  /** From when a request was due to its sending: the delay that the load generator adds. */
  readonly sentLateMs: FloodTimes;
  /** The phase in parts of {@link WINDOW_MS}. */
  readonly windows: readonly FloodWindow[];
}

/** A part of a phase. */
export interface FloodWindow {
  /** When it began, ms after the phase did. */
  readonly atMs: number;
  readonly answered: number;
  readonly notAnswered: number;
  readonly answeredP50: number;
}

/** Results of a flood. */
export interface FloodResult {
  readonly phases: readonly FloodPhaseResult[];
  /** Processor seconds of the load generator. */
  readonly processorSeconds: number;
}

/** Length of a {@link FloodWindow}, ms. */
export const WINDOW_MS = 250;
