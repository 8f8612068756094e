import type { AnnouncedBundle, Announcement, BundleState } from '@collectivekv/bundles';
import type {
  ActivateRequest__Output,
  ActivateResponse,
  CancelCandidateRequest__Output,
  CancelCandidateResponse,
  DescribeRequest__Output,
  DescribeResponse,
  FetchBundleRequest__Output,
  FetchBundleResponse,
  GatherRequest__Output,
  GatherResponse,
  GetPoolHealthRequest__Output,
  GetPoolHealthResponse,
  ListBundlesResponse,
  ListFollowersResponse,
  NameItemsRequest__Output,
  NameItemsResponse,
  NoteRecordsChangeRequest__Output,
  NoteRecordsChangeResponse,
  ReportBundlesRequest__Output,
  ReportBundlesResponse,
  ReportSlotUsageRequest__Output,
  ReportSlotUsageResponse,
  RollbackRequest__Output,
  RollbackResponse,
  SetCandidateRequest__Output,
  SetCandidateResponse,
  WatchBundlesRequest__Output,
  WatchBundlesResponse,
} from '@collectivekv/contracts';
import { counted, invalidRequest, LIMITS, numberToFloat16, parseId, WHOLE_SHARE_BP } from '@collectivekv/domain';
import type { CallContext } from '@collectivekv/rpc/server';
import type { BundleShelf, ServingCheck } from './bundle-shelf.js';
import type { FollowerReports } from './follower-reports.js';
import { gatherRows } from './gather-rows.js';
import { healthMessage, usageReportOf } from './health-messages.js';
import type { PoolMetrics } from './metrics.js';
import type { PoolHealth } from './pool-health.js';
import { requireWarm } from './require-warm.js';
import { streamBundle } from './stream-bundle.js';

const MAX_SERVICE_BYTES = 64;
const MAX_REPORTED_BUNDLES = 64;
const MAX_NAMED_ITEMS = 10_000;

/** Parts of the handlers. */
export interface PoolParts {
  readonly shelf: BundleShelf;
  readonly provider: string;
  /** Where the provider gathers, and the precision of its matrix products. */
  readonly device: string;
  readonly precision: string;
  readonly metrics: PoolMetrics;
  readonly reports: FollowerReports;
  readonly health: PoolHealth;
  /** Least coverage of a bundle that is to serve, in parts per 10,000, unless a request names another. */
  readonly minCoverageBp: number;
}

/** Creates the handlers of PoolService: requests to the shelf, results to responses. */
export function createPoolHandlers(parts: PoolParts) {
  const { shelf, provider, device, precision, metrics, reports, health, minCoverageBp } = parts;
  const { gatheredRows } = metrics;

  /** Returns the check that a bundle of another encoding is warm. */
  function warmCheck(request: Pick<ActivateRequest__Output, 'minCoverageBp' | 'force'>): ServingCheck {
    checkShare('min_coverage_bp', request.minCoverageBp);
    return (bundle, active) => {
      if (request.force || bundle.model.encodingId === active.model.encodingId) return;
      const { id } = bundle.model;
      const announced = shelf.announcement().bundles.some(({ bundleId }) => bundleId === id);
      requireWarm(reports, { bundleId: id, minCoverageBp: request.minCoverageBp || minCoverageBp, announced });
    };
  }

  return {
    async Describe({ bundleId }: DescribeRequest__Output): Promise<DescribeResponse> {
      const bundle = shelf.get(checkedId(bundleId));
      return {
        bundleId: bundle.model.id,
        manifest: bundle.manifestBytes,
        active: shelf.announcement().activeBundleId === bundle.model.id,
        provider,
        device,
        precision,
        loadedBundleIds: [...shelf.ids()],
        encodingId: bundle.model.encodingId,
        rollbackBundleId: shelf.rollbackTarget(),
        latestChange: shelf.latestChange(),
      };
    },

    async Gather(request: GatherRequest__Output, call: CallContext): Promise<GatherResponse> {
      const bundle = shelf.get(checkedId(request.bundleId));
      const keySlots = slotsFrom(request.keySlots, 'key_slots');
      const valueSlots = request.valueSlots.length === 0 ? keySlots : slotsFrom(request.valueSlots, 'value_slots');
      const toBytes = encoderOf(request.elementType);
      const { keyRows, valueRows } = await gatherRows(bundle, { group: request.group, keySlots, valueSlots }, call);
      gatheredRows.inc({ part: 'key' }, keySlots.length);
      gatheredRows.inc({ part: 'value' }, valueSlots.length);
      return {
        bundleId: bundle.model.id,
        keyRows: toBytes.encode(keyRows),
        valueRows: toBytes.encode(valueRows),
        elementType: toBytes.elementType,
      };
    },

    FetchBundle({ bundleId }: FetchBundleRequest__Output, call: CallContext): AsyncIterable<FetchBundleResponse> {
      return streamBundle(shelf.get(checkedId(bundleId)), call.signal);
    },

    async *WatchBundles(_: WatchBundlesRequest__Output, call: CallContext): AsyncIterable<WatchBundlesResponse> {
      const ended = AbortSignal.any([call.signal, call.draining]);
      for await (const announcement of shelf.watch(ended)) yield messageOf(announcement);
    },

    async SetCandidate(request: SetCandidateRequest__Output): Promise<SetCandidateResponse> {
      const { bundleId, shareBp, knownChange } = request;
      checkShare('share_bp', shareBp);
      await shelf.setCandidate({ bundleId: requiredId(bundleId), shareBp }, warmCheck(request), knownChange);
      return {};
    },

    async CancelCandidate(request: CancelCandidateRequest__Output): Promise<CancelCandidateResponse> {
      await shelf.cancelCandidate(requiredId(request.bundleId), request.knownChange);
      return {};
    },

    async Activate(request: ActivateRequest__Output): Promise<ActivateResponse> {
      const { bundleId, knownChange } = request;
      return { previousBundleId: await shelf.activate(requiredId(bundleId), warmCheck(request), knownChange) };
    },

    async ReportBundles({ service, replicaId, bundles }: ReportBundlesRequest__Output): Promise<ReportBundlesResponse> {
      parseId(service, 'service', MAX_SERVICE_BYTES);
      parseId(replicaId, 'replica_id', LIMITS.idBytes);
      if (bundles.length > MAX_REPORTED_BUNDLES) {
        const problem = `has ${bundles.length} entries, at most ${MAX_REPORTED_BUNDLES} are allowed`;
        throw invalidRequest('bundles', problem, 'report the announced bundles only');
      }
      for (const { bundleId } of bundles) requiredId(bundleId);
      reports.add({ service, replicaId, bundles });
      return {};
    },

    async ListBundles(): Promise<ListBundlesResponse> {
      return { bundles: await shelf.list() };
    },

    async ListFollowers(): Promise<ListFollowersResponse> {
      return { followers: reports.all().map((one) => ({ ...one, bundles: [...one.bundles] })) };
    },

    async ReportSlotUsage(request: ReportSlotUsageRequest__Output): Promise<ReportSlotUsageResponse> {
      health.add(usageReportOf(request));
      return {};
    },

    async GetPoolHealth({ bundleId }: GetPoolHealthRequest__Output): Promise<GetPoolHealthResponse> {
      const bundle = shelf.get(checkedId(bundleId));
      const { id, encodingId } = bundle.model;
      return { bundleId: id, encodingId, windowS: health.windowS, fields: health.of(bundle).map(healthMessage) };
    },

    async NameItems({ bundleId, indices }: NameItemsRequest__Output): Promise<NameItemsResponse> {
      const { items } = shelf.get(checkedId(bundleId)).model;
      const wanted = slotsFrom(indices, 'indices');
      if (wanted.length > MAX_NAMED_ITEMS) {
        throw invalidRequest(
          'indices',
          `has ${wanted.length} entries, at most ${MAX_NAMED_ITEMS} are allowed`,
          'send fewer',
        );
      }
      return { itemIds: Array.from(wanted, (index) => items.idAt(index)) };
    },

    async NoteRecordsChange(request: NoteRecordsChangeRequest__Output): Promise<NoteRecordsChangeResponse> {
      if (!/^[0-9a-f]{16}$/.test(request.encodingId)) {
        throw invalidRequest('encoding_id', 'is not 16 hexadecimal characters', 'send the id of an encoding');
      }
      return { bundles: (await shelf.noteChange(request)).map(stateMessage) };
    },

    async Rollback(request: RollbackRequest__Output): Promise<RollbackResponse> {
      const { endedCanaryIds, ...rolledBack } = await shelf.rollback(warmCheck(request), request.knownChange);
      return { ...rolledBack, endedCanaryIds: [...endedCanaryIds] };
    },
  };
}

const STATES = {
  active: 'BUNDLE_STATE_ACTIVE',
  canary: 'BUNDLE_STATE_CANARY',
  warming: 'BUNDLE_STATE_WARMING',
  previous: 'BUNDLE_STATE_PREVIOUS',
} as const satisfies Record<BundleState, string>;

function messageOf({ activeBundleId, bundles }: Announcement): WatchBundlesResponse {
  return {
    activeBundleId,
    bundleIds: bundles.map(({ bundleId }) => bundleId),
    bundles: bundles.map(stateMessage),
  };
}

function stateMessage({ state, ...one }: AnnouncedBundle) {
  return { ...one, state: STATES[state] };
}

function checkShare(field: string, bp: number): void {
  if (bp <= WHOLE_SHARE_BP) return;
  throw invalidRequest(field, `is ${bp}, at most ${WHOLE_SHARE_BP} is allowed`, 'send parts per 10,000');
}

function requiredId(bundleId: string): string {
  if (bundleId !== '') return checkedId(bundleId);
  throw invalidRequest('bundle_id', 'is missing', 'send the 16 hexadecimal characters of a bundle');
}

function checkedId(bundleId: string): string {
  if (bundleId === '' || /^[0-9a-f]{16}$/.test(bundleId)) return bundleId;
  throw invalidRequest('bundle_id', 'is not 16 hexadecimal characters', 'leave it empty for the active bundle');
}

function slotsFrom(bytes: Uint8Array, field: string): Uint32Array {
  if (bytes.length % 4 !== 0) {
    throw invalidRequest(
      field,
      `has ${counted(bytes.length, 'byte')}, a multiple of 4 is required`,
      'send packed little-endian uint32',
    );
  }
  return new Uint32Array(Uint8Array.from(bytes).buffer); // copied, because received bytes are seldom aligned
}

const ENCODERS = {
  ELEMENT_TYPE_FLOAT32: {
    elementType: 'ELEMENT_TYPE_FLOAT32' as const,
    encode: (rows: Float32Array) => Buffer.from(rows.buffer, rows.byteOffset, rows.byteLength),
  },
  ELEMENT_TYPE_FLOAT16: {
    elementType: 'ELEMENT_TYPE_FLOAT16' as const,
    encode: (rows: Float32Array) => Buffer.from(Uint16Array.from(rows, numberToFloat16).buffer),
  },
};

function encoderOf(elementType: string) {
  if (elementType === 'ELEMENT_TYPE_UNSPECIFIED') return ENCODERS.ELEMENT_TYPE_FLOAT32;
  if (elementType === 'ELEMENT_TYPE_FLOAT32' || elementType === 'ELEMENT_TYPE_FLOAT16') return ENCODERS[elementType];
  throw invalidRequest('element_type', 'is not a known type', 'use FLOAT32 or FLOAT16');
}
