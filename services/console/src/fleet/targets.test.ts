import { expect, it } from 'vitest';
import { parseMetricsTargets } from './targets.js';

it.each([
  ['', []],
  ['pool:9464', [{ host: 'pool', port: 9464 }]],
  [
    '127.0.0.1:1, [::1]:2',
    [
      { host: '127.0.0.1', port: 1 },
      { host: '::1', port: 2 },
    ],
  ],
  ['http://a.b-c:80/metrics', [{ host: 'a.b-c', port: 80 }]],
])('reads %j', (text, targets) => {
  expect(parseMetricsTargets(text)).toEqual({ targets, problem: undefined });
});

it.each([
  ['pool', 'address 1 is not host:port'],
  ['pool:1,,', 'address 2 is not host:port'],
  ['pool:0', 'address 1'],
  ['pool:70000', 'address 1'],
  ['https://pool:1', 'address 1'],
  ['http://pool:1/other', 'address 1'],
  ['user@pool:1', 'address 1'],
  [Array(65).fill('pool:1').join(','), 'has 65 addresses'],
])('refuses %j', (text, problem) => {
  expect(parseMetricsTargets(text).problem).toContain(problem);
});
