import type { RankResponse__Output } from '@collectivekv/contracts';
import { expect, it } from 'vitest';
import { rankingOf, rankRequestOf } from './rank-codec.js';

const bytesOf = (values: Float32Array | Uint32Array) => Buffer.from(values.buffer);

it('reads an explanation, and asks for it only if told', () => {
  const floats = (...values: number[]) => bytesOf(Float32Array.from(values));
  const positions = [
    {
      index: 1,
      itemId: 'x',
      values: [{ field: 'item', value: 7 }],
      attention: floats(0.5, 0.25),
      contribution: -0.25,
      ownContribution: 0,
      scoreWithout: 0.75,
    },
  ];
  const response = {
    scores: floats(0.5),
    order: bytesOf(Uint32Array.of(0)),
    info: { rung: 'DEGRADATION_RUNG_FULL' },
    explanation: {
      method: 'EXPLANATION_METHOD_ATTENTION',
      parts: [{ name: 'history', headCount: 2 }],
      groups: bytesOf(Uint32Array.of(4, 4)),
      candidates: [
        { scoreWithoutHistory: 0.25, contributions: floats(0.5, -0.25), ownContributions: floats(0, 0), positions },
      ],
    },
  } as unknown as RankResponse__Output;
  expect(rankingOf(['a'], response).explanation).toEqual({
    method: 'attention',
    parts: [{ name: 'history', headCount: 2 }],
    groups: Uint32Array.of(4, 4),
    candidates: [
      {
        scoreWithoutHistory: 0.25,
        contributions: Float32Array.of(0.5, -0.25),
        ownContributions: Float32Array.of(0, 0),
        positions: [{ ...positions[0], values: { item: 7 }, attention: Float32Array.of(0.5, 0.25) }],
      },
    ],
  });
  expect(rankRequestOf({ userId: 'u', candidateIds: ['a'] }).explain).toBe(false);
  expect(rankRequestOf({ userId: 'u', candidateIds: ['a'], explain: true }).explain).toBe(true);
  expect(() => rankRequestOf({ userId: 'u', candidateIds: ['a'], explain: 1 as never })).toThrow(
    'explain: is 1, true or false is required; correct it',
  );
});

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
