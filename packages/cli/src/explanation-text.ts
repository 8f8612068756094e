import type { CandidateExplanation, ExplainedPosition, Explanation, RankDetails } from '@collectivekv/client';
import { counted } from '@collectivekv/domain';
import { pairs, table } from './print.js';

/** A candidate, its score, and what the score depends on. */
export interface ExplainedItem extends CandidateExplanation {
  readonly itemId: string;
  readonly score: number;
}

/** Returns an explanation as tables, one for each item. */
export function explanationText(explanation: Explanation, items: readonly ExplainedItem[], info: RankDetails): string {
  const tables = items.map((item) => {
    const { head, rows } = positionTable(explanation, item, info.positionCount);
    return `${summaryOf(item, info.positionCount)}\n${table(head, rows)}`;
  });
  const why = info.rungReason === '' ? '' : ` (${info.rungReason})`;
  const about = pairs([
    ['bundle', info.bundleId],
    ['rung', `${info.rung}${why}`],
    ['positions', info.coldUser ? 'no record yet' : info.positionCount],
    ['heads', headsOf(explanation)],
  ]);
  return `${tables.join('\n\n')}\n\n${about}\n\n${noteOf(explanation)}`;
}

/** Returns how a score is made of its parts, in one line. */
export function summaryOf({ itemId, score, scoreWithoutHistory, contributions }: ExplainedItem, count: number): string {
  if (contributions.length === 0) {
    return `${itemId}: score ${number(score)}; without history ${number(scoreWithoutHistory)}`;
  }
  const added = `${signed(sumOf(contributions))} from ${counted(count, 'position')}`;
  return `${itemId}: score ${number(score)} = ${number(scoreWithoutHistory)} without history ${added}`;
}

/** Returns the positions of an item as a table, newest counted as 1, and a row for those that are not shown. */
export function positionTable({ method, groups }: Explanation, item: ExplainedItem, count: number) {
  const change = ({ scoreWithout }: ExplainedPosition) => signed(item.score - scoreWithout);
  if (method === 'leave_one_out') {
    const rows = item.positions.map((one) => [
      count - one.index,
      one.itemId,
      valuesOf(one),
      number(one.scoreWithout),
      change(one),
    ]);
    return { head: ['age', 'item', 'row', 'score without it', 'difference'], rows };
  }
  const sizes = new Map<number, number>();
  for (const group of groups) sizes.set(group, (sizes.get(group) ?? 0) + 1);
  const rows = item.positions.map((one) => {
    const group = groups[one.index] ?? 0;
    return [
      count - one.index,
      one.itemId,
      valuesOf(one),
      `${group} of ${sizes.get(group) ?? 1}`,
      Array.from(one.attention, percent).join(' '),
      signed(one.contribution),
      signed(one.ownContribution),
      number(one.scoreWithout),
    ];
  });
  const shown = (pick: (one: ExplainedPosition) => number) => item.positions.reduce((sum, one) => sum + pick(one), 0);
  const rest = count - item.positions.length;
  if (rest > 0) {
    const others = sumOf(item.contributions) - shown((one) => one.contribution);
    const own = sumOf(item.ownContributions) - shown((one) => one.ownContribution);
    rows.push(['', `${rest} others`, '', '', '', signed(others), signed(own), '']);
  }
  return { head: ['age', 'item', 'row', 'group', 'attention %', 'adds', 'own part', 'score without it'], rows };
}

/** Returns how to read the tables. */
export function noteOf({ method }: Explanation): string {
  if (method === 'leave_one_out') {
    return 'Age 1 is the newest position. The scores are those of the model without one position, for the newest positions. Attention is not shown: the bundle has no explain graph, or ranking does not load it.';
  }
  return 'Age 1 is the newest position. Attention lists the heads in their order. What positions add is counted along the way from no history to the whole history; "own part" comes from the user KV, the rest from the pool. "Group 7 of 3" has 3 positions with one weight. "Score without it" is the score of the model if the record lacked this position.';
}

function headsOf({ parts }: Explanation): string {
  return parts.map(({ name, headCount }) => `${name} (${headCount})`).join(', ') || '-';
}

function valuesOf({ values }: ExplainedPosition): string {
  return Object.entries(values)
    .map(([field, value]) => `${field} ${Number.isInteger(value) ? value : value.toPrecision(4)}`)
    .join(', ');
}

function sumOf(numbers: Float32Array): number {
  return numbers.reduce((sum, one) => sum + one, 0);
}

function percent(weight: number): string {
  return (100 * weight).toFixed(weight >= 0.0995 || weight === 0 ? 0 : 1);
}

function number(value: number): string {
  return value.toFixed(6);
}

function signed(value: number): string {
  return `${value < 0 ? '-' : '+'}${number(Math.abs(value))}`;
}
