// Every RPC receives a hundred malformed requests. It must refuse each one and name the field, and no service may die.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ServiceProcessName, type Stack, startStack } from '@collectivekv/dev-stack';
import { errorFrom, type MethodName, type ServiceName, services } from '@collectivekv/rpc';
import { Client, credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RPCS, sendBytes, WITHOUT_FIELDS } from './rpcs/all-rpcs.js';
import { malformedRequests, specOf } from './rpcs/malformed-requests.js';

let dir: string;
let stack: Stack;
let unexpectedEnd: unknown;
const clients = new Map<ServiceProcessName, Client>();
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-malformed-'));
  stack = await startStack({ dir, bundlesDir: fileURLToPath(new URL('../../bundles/demo', import.meta.url)) });
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
  expect([...RPCS.map(({ name }) => name), ...WITHOUT_FIELDS].sort()).toEqual(all.sort());
});

describe.each(RPCS)('$name', ({ name, process, valid, wrong }) => {
  const [service, method] = name.split('/') as [ServiceName, MethodName<ServiceName>];
  const spec = specOf(service, method);
  const call = (bytes: Buffer) => sendBytes(clients.get(process) as Client, spec, bytes);

  it('refuses a hundred malformed requests, and names the field of each', async () => {
    const requests = malformedRequests(service, method, valid, wrong);
    expect(requests.length).toBeGreaterThanOrEqual(100);
    for (const { what, field, bytes, reasons = ['invalid_request'] } of requests) {
      const outcome = await call(bytes);
      if (Array.isArray(outcome)) expect.unreachable(`accepted ${what}`);
      const { reason, field: named, message } = errorFrom(outcome);
      expect({ what, reason }).toEqual({ what, reason: expect.toSatisfy((value: string) => reasons.includes(value)) });
      expect({ what, named: named ?? message }).toEqual({ what, named: expect.stringContaining(field) });
    }
  });
});

it('leaves every process alive and ready', async () => {
  for (const service of Object.values(stack.services).flat()) await service.untilReady();
  expect(unexpectedEnd).toBeUndefined();
});
