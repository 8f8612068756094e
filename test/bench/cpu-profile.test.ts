import { expect, it } from 'vitest';
import { type CpuProfile, timeShares } from './cpu-profile.js';

const frame = (functionName: string, url = '') => ({ functionName, url });
const profile: CpuProfile = {
  nodes: [
    { id: 1, callFrame: frame('(root)'), children: [2, 3, 4, 6] },
    { id: 2, callFrame: frame('(idle)') },
    { id: 3, callFrame: frame('(garbage collector)') },
    { id: 4, callFrame: frame('onread', 'node:internal/http2/core'), children: [5] },
    { id: 5, callFrame: frame('answer', 'file:///x/services/ranking/dist/handlers.js'), children: [7, 8] },
    { id: 6, callFrame: frame('send', 'file:///x/node_modules/@grpc/grpc-js/build/src/server.js') },
    { id: 7, callFrame: frame('writev', 'node:net') },
    { id: 8, callFrame: frame('sha', 'file:///x/node_modules/a/node_modules/hash/index.js') },
  ],
  samples: [2, 3, 4, 5, 6, 7, 8],
  timeDeltas: [999, 500, 100, 50, 200, 25, 100, 25],
};

it('counts the time of Node and V8 for the package that called them', () => {
  const { busy, shares } = timeShares(profile);
  expect(busy).toBeCloseTo(0.5);
  expect(shares.map(([owner, share]) => [owner, Math.round(share * 500)])).toEqual([
    ['services/ranking', 300],
    ['garbage collection', 100],
    ['Node', 50],
    ['@grpc/grpc-js', 25],
    ['hash', 25],
  ]);
});

it('has no shares for a profile without samples', () => {
  expect(timeShares({ nodes: [], samples: [], timeDeltas: [] })).toEqual({ busy: 0, shares: [] });
});
