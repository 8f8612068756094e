import type { BundleModel, PoolTables } from '@collectivekv/domain';
import type { GraphSet } from '@collectivekv/engine';
import type { JoinedUsers } from './join-users.js';

/** A bundle with its graphs loaded. */
export interface LoadedBundle {
  readonly dir: string;
  readonly model: BundleModel;
  /** The file bundle.json that was checked, byte for byte. */
  readonly manifestBytes: Buffer;
  readonly graphs: GraphSet;
  /** True if golden vectors showed that no score depends on other candidates, so that workers may share a request. */
  readonly splitsCandidates: boolean;
  /** How many users may share a run of the graph `rank`. Undefined if `loadBundle` was not asked to join users. */
  readonly joinedUsers?: JoinedUsers | undefined;
  /** Undefined if the rank graph has no clusterings, or `loadBundle` was not asked for them. */
  readonly poolTables: PoolTables | undefined;
  /** Waits for the runs in flight, then frees the sessions. */
  close(): Promise<void>;
}

/** The part of a bundle that runs one graph at a time. */
export type RunnableBundle = Pick<LoadedBundle, 'model'> & { readonly graphs: Pick<GraphSet, 'run'> };
