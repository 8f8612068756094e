// Every RPC receives a hundred malformed requests. It must refuse each one and name the field, and no service may die.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ServiceProcessName, type Stack, startStack } from '@collectivekv/dev-stack';
import { errorFrom, type MethodName, type ServiceName, services } from '@collectivekv/rpc';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { malformedRequests, specOf } from './malformed-requests.js';
import { POOL_RPCS } from './pool-rpcs.js';
import { RANKING_RPCS } from './ranking-rpcs.js';
import type { Rpcs } from './shared-cases.js';
import { UPDATER_RPCS } from './updater-rpcs.js';
import { USER_CACHE_RPCS } from './user-cache-rpcs.js';

const RPCS = (
  [
    ['ranking', RANKING_RPCS],
    ['pool', POOL_RPCS],
    ['user-cache', USER_CACHE_RPCS],
    ['updater', UPDATER_RPCS],
  ] satisfies [ServiceProcessName, Rpcs][]
).flatMap(([process, rpcs]) => Object.entries(rpcs).map(([rpc, cases]) => [rpc, process, ...cases] as const));

/** RPCs whose requests have no fields. Their requests cannot be malformed. */
const WITHOUT_FIELDS = ['PoolService/WatchBundles', 'PoolService/Rollback'];

let dir: string;
let stack: Stack;
let unexpectedEnd: unknown;
const clients = new Map<ServiceProcessName, Client>();
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-contract-'));
  stack = await startStack({ dir, bundlesDir: fileURLToPath(new URL('../../../bundles/demo', import.meta.url)) });
  stack.failure.catch((error) => {
    unexpectedEnd = error;
  });
  for (const [name, target] of Object.entries(stack.targets)) {
    clients.set(name as ServiceProcessName, new Client(target, credentials.createInsecure()));
  }
});
afterAll(async () => {
  for (const client of clients.values()) client.close();
  await stack?.stop();
  await rm(dir, { recursive: true, force: true });
});

it('covers every RPC whose request has fields', () => {
  const all = (Object.keys(services) as ServiceName[]).flatMap((service) =>
    Object.keys(services[service].service).map((method) => `${service}/${method}`),
  );
  expect([...RPCS.map(([rpc]) => rpc), ...WITHOUT_FIELDS].sort()).toEqual(all.sort());
});

describe.each(RPCS)('%s', (rpc, process, valid, wrong) => {
  const [service, method] = rpc.split('/') as [ServiceName, MethodName<ServiceName>];
  const spec = specOf(service, method);
  const call = (bytes: Buffer) => send(clients.get(process) as Client, spec, bytes);

  it('refuses a hundred malformed requests, and names the field of each', async () => {
    const requests = malformedRequests(service, method, valid, wrong);
    expect(requests.length).toBeGreaterThanOrEqual(100);
    for (const { what, field, bytes, reasons = ['invalid_request'] } of requests) {
      const error = await call(bytes);
      if (!error) expect.unreachable(`accepted ${what}`);
      const { reason, field: named, message } = errorFrom(error);
      expect({ what, reason }).toEqual({ what, reason: expect.toSatisfy((value: string) => reasons.includes(value)) });
      expect({ what, named: named ?? message }).toEqual({ what, named: expect.stringContaining(field) });
    }
  });
});

it('leaves every process alive and ready', async () => {
  for (const service of Object.values(stack.services).flat()) await service.untilReady();
  expect(unexpectedEnd).toBeUndefined();
});

/** Sends bytes as a request. Resolves with the failure, or with undefined if the request was accepted. */
function send(
  client: Client,
  { path, requestStream, responseStream }: ReturnType<typeof specOf>,
  bytes: Buffer,
): Promise<ServiceError | undefined> {
  const asIs = (value: Buffer) => value;
  return new Promise((resolve) => {
    const deadline = { deadline: Date.now() + 10_000 };
    if (!requestStream && !responseStream) {
      client.makeUnaryRequest(path, asIs, asIs, bytes, deadline, (error) => resolve(error ?? undefined));
      return;
    }
    const call = requestStream
      ? client.makeBidiStreamRequest(path, asIs, asIs, deadline).end(bytes)
      : client.makeServerStreamRequest(path, asIs, asIs, bytes, deadline);
    call.on('data', () => undefined);
    call.on('error', (error) => resolve(error as ServiceError));
    call.on('end', () => resolve(undefined));
  });
}
