import { fleetFigures, parseMetrics } from '@collectivekv/fleet-metrics';
import { expect, it } from 'vitest';
import { metricsTargets } from './top-command.js';
import { topText } from './top-text.js';

it.each(['http://10.0.0.1:9090/metrics', '10.0.0.1', 'a:1,,b:2', ''])('refuses the addresses "%s"', (given) => {
  expect(() => metricsTargets(given, [])).toThrow(/^--metrics/);
});

it('prefers the addresses that were given to those of npm start', () => {
  expect(metricsTargets('a:1, b:2', ['c:3'])).toEqual(['a:1', 'b:2']);
  expect(metricsTargets(undefined, ['c:3'])).toEqual(['c:3']);
});

it('has a line for each process, and dashes for what nobody knows', () => {
  const scrape = (target: string, text: string, problem = '') => ({
    target,
    atMs: 0,
    samples: parseMetrics(text),
    problem,
  });
  const up = scrape('a:1', 'ckv_bundle_active{bundle="0123456789abcdef",service="pool"} 1\n');
  const text = topText(fleetFigures([], [up, scrape('b:2', '', 'cannot be reached: ECONNREFUSED')]), undefined);
  expect(text).toMatch(/pool\s+│ a:1 .* 0123456789abcdef/);
  expect(text).toMatch(/b:2\s+│ cannot be reached: ECONNREFUSED/);
  expect(text).toMatch(/^rank +0\/s calls, 0 % failed; p50 -, p99 -$/m);
  expect(text).not.toContain('NaN');
});
