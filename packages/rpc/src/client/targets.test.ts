import { expect, it } from 'vitest';
import { grpcTarget, targetProblem } from './targets.js';

it.each([
  '127.0.0.1:50053',
  'localhost:1',
  'ranking:50053',
  '[::1]:65535',
  'dns:///ranking.feed.svc:50053',
  'dns://10.0.0.2/ranking:50053',
  'dns:ranking:50053',
  'ipv4:10.0.0.1:1,10.0.0.2:1',
  '10.0.0.1:1,10.0.0.2:1',
  '[::1]:1,[::2]:1',
  'unix:/run/ranking.sock',
])('takes %s', (target) => {
  expect(targetProblem(target)).toBeUndefined();
});

it.each([
  ['ranking', 'no port', 'ranking:50053'],
  ['ranking:', 'no port', 'ranking:50053'],
  ['dns:///ranking', 'no port', 'ranking:50053'],
  ['127.0.0.1', 'no port', '127.0.0.1:50053'],
  ['[::1]', 'no port', '[::1]:50053'],
  ['10.0.0.1:1,10.0.0.2', 'no port', '10.0.0.2:50053'],
  ['ranking:0', 'the port 0', 'ranking:50053'],
  ['ranking:65536', 'the port 65536', 'ranking:50053'],
  ['http://ranking:50053', 'is a URL', 'such as ranking:50053'],
  ['https://ranking:443/path', 'is a URL', 'such as ranking:443'],
  ['grpc://ranking:1', 'is a URL', 'such as ranking:1'],
  ['::1:50053', 'is not HOST:PORT', '[::1]:50053'],
  ['ranking:port', 'is not HOST:PORT', 'HOST:PORT'],
  [':50053', 'no host', 'HOST:PORT'],
  ['', 'no host', 'HOST:PORT'],
  ['a b:1', 'no host', 'HOST:PORT'],
  ['ranking-1:1,ranking-2:1', 'of which one is a name', 'dns:///NAME:PORT'],
])('refuses "%s"', (target, problem, remedy) => {
  const found = targetProblem(target);
  expect(found?.problem).toContain(problem);
  expect(found?.remedy).toContain(remedy);
});

it('makes one target of several addresses', () => {
  expect(grpcTarget('10.0.0.1:1,10.0.0.2:1')).toBe('ipv4:10.0.0.1:1,10.0.0.2:1');
  expect(grpcTarget('[::1]:1,[::2]:1')).toBe('ipv6:[::1]:1,[::2]:1');
  expect(grpcTarget('ranking:1')).toBe('ranking:1');
});
