import { expect, it } from 'vitest';
import { z } from 'zod';
import { commonConfig, parseConfig } from './config.js';
import { createServiceServer } from './grpc-options.js';
import { createLogger } from './log.js';
import { createMetrics } from './metrics.js';

const config = parseConfig(z.object(commonConfig({ port: 0 })), {});
const serve = (variables: Partial<typeof config>) =>
  createServiceServer({ ...config, ...variables }, createLogger('test', 'silent'), createMetrics('test'));

it('refuses an address beyond loopback unless a token, TLS or the operator guards it', () => {
  const beyond = { CKV_BIND: '0.0.0.0:0' };
  expect(() => serve(beyond)).toThrow(/CKV_BIND: 0\.0\.0\.0:0 is beyond loopback/);
  serve({ ...beyond, CKV_TOKEN: 'a-token-of-24-characters' });
  serve({ ...beyond, CKV_ALLOW_INSECURE: true });
});
