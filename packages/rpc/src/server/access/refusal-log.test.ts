import { expect, it } from 'vitest';
import { createRefusalLog } from './refusal-log.js';

it('warns at once, and at most once a minute for each label and RPC', () => {
  const lines: object[] = [];
  let nowMs = 0;
  const warn = createRefusalLog({ warn: (fields) => lines.push(fields) }, () => nowMs);
  const feed = { rpc: 'PoolService/Activate', missing: 'admin', caller: 'feed' };
  const others = [
    { ...feed, caller: 'other' },
    { ...feed, rpc: 'PoolService/Rollback' },
  ];
  for (let call = 0; call < 1_000; call++) warn(feed);
  for (const other of others) warn(other);
  expect(lines).toEqual([feed, ...others]);
  nowMs = 59_999;
  warn(feed);
  expect(lines).toHaveLength(3);
  nowMs = 60_000;
  for (let call = 0; call < 1_000; call++) warn(feed);
  expect(lines.slice(3)).toEqual([feed]);
});
