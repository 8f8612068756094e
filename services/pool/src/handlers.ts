import type {
  ActivateRequest__Output,
  ActivateResponse,
  DescribeRequest__Output,
  DescribeResponse,
  FetchBundleRequest__Output,
  FetchBundleResponse,
  GatherRequest__Output,
  GatherResponse,
  RollbackResponse,
  WatchBundlesRequest__Output,
  WatchBundlesResponse,
} from '@collectivekv/contracts';
import { invalidRequest, numberToFloat16 } from '@collectivekv/domain';
import type { CallContext } from '@collectivekv/rpc/server';
import type { BundleShelf } from './bundle-shelf.js';
import { gatherRows } from './gather-rows.js';
import type { PoolMetrics } from './metrics.js';
import { streamBundle } from './stream-bundle.js';

/** Creates the handlers of PoolService: requests to the shelf, results to responses. */
export function createPoolHandlers(shelf: BundleShelf, provider: string, { gatheredRows }: PoolMetrics) {
  return {
    async Describe({ bundleId }: DescribeRequest__Output): Promise<DescribeResponse> {
      const bundle = shelf.get(checkedId(bundleId));
      return {
        bundleId: bundle.model.id,
        manifest: bundle.manifestBytes,
        active: shelf.announcement().activeBundleId === bundle.model.id,
        provider,
        loadedBundleIds: [...shelf.ids()],
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
      for await (const { activeBundleId, bundleIds } of shelf.watch(ended)) {
        yield { activeBundleId, bundleIds: [...bundleIds] };
      }
    },

    async Activate({ bundleId }: ActivateRequest__Output): Promise<ActivateResponse> {
      if (bundleId === '')
        throw invalidRequest('bundle_id', 'is missing', 'send the 16 hexadecimal characters of a bundle');
      return { previousBundleId: await shelf.activate(checkedId(bundleId)) };
    },

    async Rollback(): Promise<RollbackResponse> {
      return { activeBundleId: await shelf.rollback() };
    },
  };
}

function checkedId(bundleId: string): string {
  if (bundleId === '' || /^[0-9a-f]{16}$/.test(bundleId)) return bundleId;
  throw invalidRequest('bundle_id', 'is not 16 hexadecimal characters', 'leave it empty for the active bundle');
}

function slotsFrom(bytes: Uint8Array, field: string): Uint32Array {
  if (bytes.length % 4 !== 0) {
    throw invalidRequest(
      field,
      `has ${bytes.length} bytes, a multiple of 4 is required`,
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
