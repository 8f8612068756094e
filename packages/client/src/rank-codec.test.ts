import type { RankResponse__Output } from '@collectivekv/contracts';
import { expect, it } from 'vitest';
import { rankingOf } from './rank-codec.js';

const bytesOf = (values: Float32Array | Uint32Array) => Buffer.from(values.buffer);

it('names the items of an answer best first, by the ids that were sent', () => {
  const response = {
    scores: bytesOf(Float32Array.of(0.25, 0.75, 0.5)),
    order: bytesOf(Uint32Array.of(1, 2)),
    info: { rung: 'DEGRADATION_RUNG_FULL', positionCount: 9 },
  } as unknown as RankResponse__Output;
  const ranking = rankingOf(['a', 'b', 'c'], response);
  expect(ranking.ranked).toEqual([
    { itemId: 'b', score: 0.75 },
    { itemId: 'c', score: 0.5 },
  ]);
  expect([...ranking.scores]).toEqual([0.25, 0.75, 0.5]);
  expect(ranking.info).toMatchObject({ rung: 'full', positionCount: 9 });
  expect(JSON.parse(JSON.stringify(ranking)).ranked[0]).toEqual({ itemId: 'b', score: 0.75 });
});
