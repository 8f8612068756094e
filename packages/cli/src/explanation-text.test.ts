import type { Explanation, RankDetails } from '@collectivekv/client';
import { describe, expect, it } from 'vitest';
import { explanationPage, explanationSvg } from './explanation-picture.js';
import { type ExplainedItem, explanationText, positionTable } from './explanation-text.js';

const info = {
  bundleId: '0123456789abcdef',
  positionCount: 4,
  rung: 'full',
  rungReason: '',
  coldUser: false,
} as RankDetails;
const explanation: Explanation = {
  method: 'attention',
  parts: [
    { name: 'history', headCount: 2 },
    { name: 'user', headCount: 1 },
  ],
  groups: Uint32Array.of(3, 0, 3, 3),
  candidates: [],
};
const position = {
  itemId: 'i<7>',
  values: { item: 7, time: 0.123456 },
  attention: Float32Array.of(0.5, 0.025, 0),
  contribution: 0.25,
  ownContribution: 0.125,
  scoreWithout: 0.5,
};
const item: ExplainedItem = {
  itemId: 'a&b',
  score: 0.75,
  scoreWithoutHistory: 0.5,
  contributions: Float32Array.of(0.0625, -0.0625, 0.25, 0),
  ownContributions: Float32Array.of(0.0625, 0, 0.125, 0),
  positions: [{ ...position, index: 2 }],
};
const left: ExplainedItem = { ...item, contributions: new Float32Array(0), ownContributions: new Float32Array(0) };

describe('an explanation as text', () => {
  it('shows how the score is made, each position, and the sum of the others', () => {
    expect(positionTable(explanation, item, 4)).toEqual({
      head: ['age', 'item', 'row', 'group', 'attention %', 'adds', 'own part', 'score without it'],
      rows: [
        [2, 'i<7>', 'item 7, time 0.1235', '3 of 3', '50 2.5 0', '+0.250000', '+0.125000', '0.500000'],
        ['', '3 others', '', '', '', '+0.000000', '+0.062500', ''],
      ],
    });
    const text = explanationText(explanation, [item], info);
    expect(text).toContain('a&b: score 0.750000 = 0.500000 without history +0.250000 from 4 positions');
    expect(text).toMatch(/heads +history \(2\), user \(1\)/);
  });

  it('without contributions shows scores and differences', () => {
    const plain: Explanation = { ...explanation, method: 'leave_one_out', parts: [], groups: new Uint32Array(0) };
    expect(positionTable(plain, left, 4)).toEqual({
      head: ['age', 'item', 'row', 'score without it', 'difference'],
      rows: [[2, 'i<7>', 'item 7, time 0.1235', '0.500000', '+0.250000']],
    });
    expect(explanationText(plain, [left], info)).toContain('a&b: score 0.750000; without history 0.500000');
  });
});

describe('a picture', () => {
  const barsOf = (svg: string) =>
    [...svg.matchAll(/<rect x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)" fill="(#\w+)"/g)].map(
      ([, , y, height, fill]) => [Number(y), Number(height), fill],
    );

  it('has a bar for each position: up if it adds to the score, down if it takes from it', () => {
    const bars = barsOf(explanationSvg(explanation, [item]));
    expect(bars).toEqual([
      [92.5, 17.5, '#0b6e4f'],
      [110, 17.5, '#c8553d'],
      [40, 70, '#0b6e4f'],
      [110, 0, '#0b6e4f'],
    ]);
  });

  it('adds positions up if there are more than bars', () => {
    const contributions = new Float32Array(1_000).fill(0.001);
    const bars = barsOf(explanationSvg(explanation, [{ ...item, contributions }]));
    expect(bars.length).toBe(250);
    expect(new Set(bars.map(([, height]) => height))).toEqual(new Set([70]));
  });

  it('shows differences in the order of time if there are no contributions', () => {
    const positions = [
      { ...position, index: 3, scoreWithout: 0.7 },
      { ...position, index: 2, scoreWithout: 0.85 },
    ];
    const bars = barsOf(explanationSvg({ ...explanation, method: 'leave_one_out' }, [{ ...left, positions }]));
    expect(bars.map(([, , fill]) => fill)).toEqual(['#c8553d', '#0b6e4f']);
  });

  it('is part of a page, in which no id is read as HTML', () => {
    const page = explanationPage(explanation, [item], info);
    expect(page).toContain('<svg ');
    expect(page).toContain('<td>i&lt;7&gt;</td>');
    expect(page).toContain('a&amp;b: score');
    expect(page).not.toContain('i<7>');
  });
});
