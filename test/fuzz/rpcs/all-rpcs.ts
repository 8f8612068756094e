import type { ServiceProcessName } from '@collectivekv/dev-stack';
import type { Client, ServiceError } from '@grpc/grpc-js';
import type { HandMade, specOf } from './malformed-requests.js';
import { POOL_RPCS } from './pool-rpcs.js';
import { RANKING_RPCS } from './ranking-rpcs.js';
import type { Rpcs } from './shared-cases.js';
import { UPDATER_RPCS } from './updater-rpcs.js';
import { USER_CACHE_RPCS } from './user-cache-rpcs.js';

/** An RPC whose request has fields. */
export interface Rpc {
  /** `Service/Method`. */
  readonly name: string;
  /** The service process that has it. */
  readonly process: ServiceProcessName;
  readonly valid: object;
  readonly wrong: HandMade;
}

const GROUPS: readonly (readonly [ServiceProcessName, Rpcs])[] = [
  ['ranking', RANKING_RPCS],
  ['pool', POOL_RPCS],
  ['user-cache', USER_CACHE_RPCS],
  ['updater', UPDATER_RPCS],
];

/** Every RPC whose request has fields. */
export const RPCS: readonly Rpc[] = GROUPS.flatMap(([process, rpcs]) =>
  Object.entries(rpcs).map(([name, [valid, wrong]]) => ({ name, process, valid, wrong })),
);

/** RPCs whose requests have no fields. Their requests cannot be malformed. */
export const WITHOUT_FIELDS = ['PoolService/WatchBundles', 'PoolService/ListBundles', 'PoolService/ListFollowers'];

/** Sends bytes as a request. Resolves with the failure, or with the answers if the request was accepted. */
export function sendBytes(
  client: Client,
  { path, requestStream, responseStream }: Pick<ReturnType<typeof specOf>, 'path' | 'requestStream' | 'responseStream'>,
  bytes: Buffer,
): Promise<ServiceError | Buffer[]> {
  const asIs = (value: Buffer) => value;
  return new Promise((resolve) => {
    const deadline = { deadline: Date.now() + 10_000 };
    if (!requestStream && !responseStream) {
      client.makeUnaryRequest(path, asIs, asIs, bytes, deadline, (error, answer) =>
        resolve(error ?? [answer as Buffer]),
      );
      return;
    }
    const answers: Buffer[] = [];
    const call = requestStream
      ? client.makeBidiStreamRequest(path, asIs, asIs, deadline).end(bytes)
      : client.makeServerStreamRequest(path, asIs, asIs, bytes, deadline);
    call.on('data', (answer: Buffer) => answers.push(answer));
    call.on('error', (error) => resolve(error as ServiceError));
    call.on('end', () => resolve(answers));
  });
}
