import { CkvError } from '@collectivekv/domain';
import { expect, it } from 'vitest';
import { unreachableHints } from './unreachable-hints.js';

const TLS = 'if it speaks TLS, set CKV_TLS_CA_FILE';
const START = '"npm start" runs all services on this machine';
const away = (target: string) =>
  new CkvError('dependency_unavailable', `RankingService at ${target} cannot be reached`);

it.each([
  ['127.0.0.1:50053', {}, [TLS, START]],
  ['localhost:50053', { CKV_TLS_CA_FILE: 'ca.pem' }, [START]],
  ['ranking.example:50053', {}, [TLS]],
  ['ranking.example:50053', { CKV_TLS_CA_FILE: 'ca.pem' }, []],
])('hints at TLS without authorities, and at npm start on loopback: %s %o', (target, env, hints) => {
  expect(unreachableHints(away(target), env)).toEqual(hints);
});

it('hints at npm start without Redis, and at nothing for other errors', () => {
  const text = '--queue-redis: Redis cannot be reached (connect ECONNREFUSED)';
  expect(unreachableHints(new CkvError('dependency_unavailable', text), {})).toEqual([START]);
  const other = new CkvError('dependency_unavailable', 'PoolService at a:1 is not there', { field: '--pool' });
  expect(unreachableHints(other, {})).toEqual([]);
  expect(unreachableHints(new CkvError('deadline', 'the deadline passed'), {})).toEqual([]);
});
