import { createGrpcClient } from '@collectivekv/rpc';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { commonConfig, parseConfig } from './config.js';
import { clientOptionsOf, createServiceServer, inVariables } from './grpc-options.js';
import { createLogger } from './log.js';
import { createMetrics } from './metrics.js';

const config = parseConfig(z.object(commonConfig({ port: 0 })), {});
const serve = (variables: Partial<typeof config>) =>
  createServiceServer({ ...config, ...variables }, createLogger('test', 'silent'), createMetrics('test'));

describe('createServiceServer', () => {
  const CKV_BIND = '0.0.0.0:0';

  it('refuses an address beyond loopback that nothing guards', () => {
    expect(() => serve({ CKV_BIND })).toThrow(/CKV_BIND: 0\.0\.0\.0:0 is beyond loopback/);
  });

  it.each([
    ['guarded by a token', { CKV_TOKEN: 'a-token-of-24-characters' }],
    ['allowed by the operator', { CKV_ALLOW_INSECURE: true }],
  ])('accepts an address beyond loopback that is %s', (_, guard) => {
    expect(() => serve({ CKV_BIND, ...guard })).not.toThrow();
  });
});

it('names the variable of an option in an error', () => {
  const failureOf = (work: () => unknown) => {
    try {
      return work();
    } catch (error) {
      return inVariables((error as Error).message);
    }
  };
  const call = () =>
    createGrpcClient('PoolService', 'a:1', clientOptionsOf({ ...config, CKV_TLS_CA_FILE: '/nowhere' }));
  expect(failureOf(call)).toMatch(/^CKV_TLS_CA_FILE: \/nowhere is not a readable certificate/);
  expect(failureOf(() => serve({ CKV_TLS_CERT_FILE: '/nowhere' }))).toMatch(
    /^CKV_TLS_CERT_FILE, CKV_TLS_KEY_FILE: both/,
  );
});
