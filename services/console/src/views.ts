/** What the console's server sends to its page, as JSON. Times are in Unix ms, or in the unit of the name. */

/** Who looks at the page, and what the console may do. */
export interface SessionView {
  /** True if the page needs a token. */
  readonly tokens: boolean;
  /** True if changes are switched on. */
  readonly writes: boolean;
  /** True if the console reaches the queue's Redis. */
  readonly queue: boolean;
}

/** A failure. */
export interface ProblemView {
  /** A reason of docs/errors.md. */
  readonly reason: string;
  readonly message: string;
}

/** A replica whose metrics were read. Figures are of the last minute. */
export interface ReplicaView {
  /** Name of the service, or '' while it has never answered. */
  readonly service: string;
  readonly address: string;
  /** Why its metrics cannot be read; null if they can. */
  readonly problem: string | null;
  readonly upS: number | null;
  readonly residentBytes: number | null;
  /** Processors that it keeps busy. */
  readonly cpu: number | null;
  /** Delay of its event loop, 99th percentile, ms. */
  readonly loopP99Ms: number | null;
  /** Calls a second, streams of announcements and bundles left out. */
  readonly callsPerS: number | null;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  /** Share of the calls that failed, 0 to 1. */
  readonly failedShare: number | null;
  readonly bundles: readonly {
    readonly id: string;
    readonly name: string;
    readonly state: string;
    readonly loaded: boolean;
  }[];
  /** Partitions of the queue that an updater consumes; null for other services. */
  readonly partitions: number | null;
}

/** Figures of the whole system between two looks. A figure that nobody measured is null. */
export interface FleetPoint {
  readonly atMs: number;
  readonly ranksPerS: number | null;
  readonly rankP50Ms: number | null;
  readonly rankP99Ms: number | null;
  readonly interactionsPerS: number | null;
  /** Time from a queued job to its record. */
  readonly freshP50Ms: number | null;
  readonly freshP99Ms: number | null;
  readonly oldestWaitingS: number | null;
  /** Answers a second by rung. */
  readonly fullPerS: number | null;
  readonly recentOnlyPerS: number | null;
  readonly noHistoryPerS: number | null;
}

/** The services, live. */
export interface FleetView {
  /** False if no addresses of metrics are configured. */
  readonly configured: boolean;
  readonly everyS: number;
  readonly replicas: readonly ReplicaView[];
  /** Oldest first. */
  readonly points: readonly FleetPoint[];
}

/** A field of a row. */
export interface FieldView {
  readonly name: string;
  /** `route`: the slot of a pool; `raw`: a value of the interaction; `user`: part of the user KV. */
  readonly kind: string;
  readonly width: number;
  /** Slots of a route's pool; 0 for other fields. */
  readonly slots: number;
  /** True if the value is a time, Unix s. */
  readonly isTime: boolean;
}

/** A position of a history. */
export interface PositionView {
  /** 0 is the oldest. */
  readonly index: number;
  /** Empty if the bundle's rows do not hold it, or for an item that the bundle does not know. */
  readonly itemId: string;
  /** Routes and raw values, by field. */
  readonly values: Readonly<Record<string, number>>;
  /** Root mean square of the user KV; null if the row has none. */
  readonly ownSize: number | null;
}

/** A user's record under one encoding. */
export interface UserView {
  readonly bundleId: string;
  readonly bundleName: string;
  readonly encodingId: string;
  /** Null if the user has no record. */
  readonly record: {
    readonly positionCount: number;
    readonly maxPositions: number;
    readonly lifetimeCount: number;
    readonly lastEventMs: number;
    readonly bytes: number;
    /** Bytes of a full cache of the same positions, float32. */
    readonly fullBytes: number;
    readonly fields: readonly FieldView[];
    /** Distinct slots of the whole history, by route field. */
    readonly distinctSlots: Readonly<Record<string, number>>;
    /** The newest positions, newest first. */
    readonly positions: readonly PositionView[];
  } | null;
}

/** A scored item. */
export interface ScoreView {
  readonly itemId: string;
  readonly score: number;
}

/** How an answer was made. */
export interface AnswerView {
  readonly bundleId: string;
  readonly positionCount: number;
  readonly rung: string;
  readonly rungReason: string;
  readonly coldUser: boolean;
  readonly canaryShareBp: number;
  readonly unknownItems: number;
  readonly tookMs: number;
}

/** Scores of a list of items, best first. */
export interface RankView {
  readonly answer: AnswerView;
  readonly ranked: readonly ScoreView[];
}

/** A position of an explanation. */
export interface ExplainedPositionView extends Pick<PositionView, 'index' | 'itemId' | 'values'> {
  readonly shared: number;
  readonly own: number;
  /** Largest weight of any head, 0 to 1. */
  readonly attention: number;
  readonly scoreWithout: number;
  readonly group: number | null;
  /** Positions of the group. */
  readonly groupSize: number | null;
}

/** What a score comes from. */
export interface ExplainedItemView extends ScoreView {
  readonly scoreWithoutHistory: number;
  /** Sums over all positions. */
  readonly shared: number;
  readonly own: number;
  /** What runs of equally many positions add, oldest first; empty without an explain graph. */
  readonly runs: { readonly size: number; readonly shared: readonly number[]; readonly own: readonly number[] };
  readonly positions: readonly ExplainedPositionView[];
}

/** Scores with what they come from. */
export interface ExplainView {
  readonly answer: AnswerView;
  readonly method: 'attention' | 'leave_one_out';
  readonly parts: readonly { readonly name: string; readonly headCount: number }[];
  readonly items: readonly ExplainedItemView[];
  /** Groups of the newest positions, by index: attention reads positions of one group as one. */
  readonly groups: Readonly<Record<number, number>>;
  readonly groupCount: number;
}

/** Figures of positions by slot. */
export interface SlotFiguresView {
  readonly positionCount: number;
  readonly usedCount: number;
  readonly entropyBits: number;
  readonly perplexity: number;
  readonly rankShares: readonly number[];
}

/** How recent positions use the slots of a route field. */
export interface PoolFieldView {
  readonly field: string;
  readonly slotCount: number;
  readonly recent: SlotFiguresView;
  readonly trained: SlotFiguresView | null;
  readonly drift: {
    readonly distance: number;
    readonly noise: number;
    readonly bound: number;
    readonly expectedUnusedCount: number;
  } | null;
  readonly runSlots: number;
  /** Counts of runs of slots. */
  readonly recentPositions: readonly number[];
  readonly usedSlots: readonly number[];
  /** Empty if the bundle does not count training. */
  readonly trainedPositions: readonly number[];
}

/** The health of a bundle's pool. */
export interface PoolView {
  readonly bundleId: string;
  readonly encodingId: string;
  readonly windowS: number;
  readonly bundles: readonly { readonly id: string; readonly name: string; readonly state: string }[];
  readonly fields: readonly PoolFieldView[];
}

/** A bundle and its state. */
export interface BundleView {
  readonly id: string;
  readonly name: string;
  readonly family: string;
  readonly encodingId: string;
  readonly state: string;
  readonly shareBp: number;
  /** Null if the bundle reads the active one's records, or nobody measures it. */
  readonly coverage: { readonly sampledCount: number; readonly warmCount: number } | null;
  readonly sharesActiveEncoding: boolean;
  readonly followers: readonly { readonly service: string; readonly replicaId: string; readonly loaded: boolean }[];
  readonly maxPositions: number;
  readonly itemCount: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/** The bundles of the pool, the active one first. */
export interface BundlesView {
  readonly bundles: readonly BundleView[];
}

/** The outcome of a change. */
export interface ChangeView {
  readonly done: string;
}

/** The interaction queue. */
export interface QueueView {
  readonly waiting: number;
  readonly active: number;
  readonly setAside: number;
  readonly oldestWaitingMs: number;
  readonly partitions: readonly {
    readonly partition: number;
    readonly waiting: number;
    readonly active: number;
    readonly setAside: number;
  }[];
  /** Jobs that were set aside, newest first. */
  readonly jobs: readonly {
    readonly id: string;
    readonly partition: number;
    readonly kind: string;
    readonly reason: string;
    readonly setAsideAtMs: number;
  }[];
}
