import { errorFrom, type MethodName, type ServiceName } from '@collectivekv/rpc';
import { status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { damagedBytes } from '../inputs/damaged-bytes.js';
import { damagedMessages } from '../inputs/damaged-messages.js';
import { isRefusal } from '../refusals.js';
import { RPCS, type Rpc, sendBytes } from '../rpcs/all-rpcs.js';
import { specOf } from '../rpcs/malformed-requests.js';
import type { ServicesUnderFuzz } from '../services-under-fuzz.js';
import type { Surface } from '../surface.js';

/** A request of an RPC as bytes. */
interface RequestBytes {
  readonly rpc: string;
  readonly bytes: Buffer;
}

/** Larger messages are refused before the service reads them. The refusal has no reason of ours. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** Requests of every RPC, damaged in their bytes or in their fields. */
export function requestsSurface({ clients, stillRight }: ServicesUnderFuzz): Surface<RequestBytes> {
  const byName = new Map(RPCS.map((rpc) => [rpc.name, rpc]));
  return {
    name: 'requests of every RPC',
    inputs: fc.oneof(...RPCS.map((rpc) => damagedRequests(rpc).map((bytes) => ({ rpc: rpc.name, bytes })))),
    async judge({ rpc: name, bytes }) {
      const rpc = byName.get(name);
      if (!rpc) throw new Error(`no RPC ${name}`);
      const outcome = await sendBytes(clients[rpc.process], definitionOf(rpc), bytes);
      if (Array.isArray(outcome)) return 'accepted';
      if (bytes.length > MAX_MESSAGE_BYTES && outcome.code === status.RESOURCE_EXHAUSTED) return 'refused';
      const error = errorFrom(outcome);
      if (isRefusal(error) && outcome.metadata.get('ckv-reason').length > 0) return 'refused';
      throw new Error(`${name} failed with ${outcome.code} ${error.reason}: ${outcome.details}`);
    },
    stillRight,
  };
}

/** Damaged copies of the valid request and of the hand-made wrong ones. */
function damagedRequests(rpc: Rpc): fc.Arbitrary<Buffer> {
  const { requestSerialize } = definitionOf(rpc);
  const seeds = [rpc.valid, ...rpc.wrong.map(([, , request]) => request)]
    .map(requestSerialize)
    .filter((bytes) => bytes.length > 0 && bytes.length < 4_000);
  return fc.oneof({ weight: 2, arbitrary: damagedMessages(seeds) }, damagedBytes(seeds));
}

function definitionOf({ name }: Rpc): ReturnType<typeof specOf> {
  const [service, method] = name.split('/') as [ServiceName, MethodName<ServiceName>];
  return specOf(service, method);
}
