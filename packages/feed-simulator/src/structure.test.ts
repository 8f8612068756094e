import { describe, expect, it } from 'vitest';
import { createFeedSimulator } from './feed-simulator.js';
import type { Exposure } from './simulated-user.js';
import { createWorld } from './world.js';

const SEED = 1;
const START_MS = 1_700_000_000_000;
const DAY_MS = 86_400_000;
const SESSION_SIZE = 25;

const simulator = createFeedSimulator({ seed: SEED });
const topicOf = new Map(
  createWorld({ seed: SEED, itemCount: 2_000, topicCount: 40, repeatShare: 0 }).items.map((item) => [
    item.itemId,
    item.topic,
  ]),
);

/** Returns the area under the ROC curve: the share of (clicked, skipped) pairs in the right order. Ties count half. */
function auc(scored: readonly { score: number; label: 0 | 1 }[]): number {
  const clicked = scored.filter(({ label }) => label === 1);
  const skipped = scored.filter(({ label }) => label === 0);
  let right = 0;
  for (const { score } of clicked) {
    for (const other of skipped) right += score > other.score ? 1 : score === other.score ? 0.5 : 0;
  }
  return right / (clicked.length * skipped.length);
}

/** Returns the smoothed share of clicked exposures by key. */
function clickRates(exposures: readonly Exposure[], keyOf: (exposure: Exposure) => number | string | undefined) {
  const tallies = new Map<number | string | undefined, { clicks: number; shown: number }>();
  for (const exposure of exposures) {
    const tally = tallies.get(keyOf(exposure)) ?? { clicks: 0.38 * 5, shown: 5 };
    tallies.set(keyOf(exposure), { clicks: tally.clicks + exposure.label, shown: tally.shown + 1 });
  }
  return (key: number | string | undefined): number => {
    const tally = tallies.get(key);
    return tally === undefined ? 0.38 : tally.clicks / tally.shown;
  };
}

describe('a simulated feed', () => {
  it('makes history informative: the topics of earlier clicks predict far better than popularity', () => {
    const crowd = Array.from({ length: 300 }, (_, i) => simulator.user(10_000 + i).expose(200, START_MS)).flat();
    const popularity = clickRates(crowd, (exposure) => exposure.itemId);
    const withHistory: { score: number; label: 0 | 1 }[] = [];
    const without: { score: number; label: 0 | 1 }[] = [];
    for (let index = 0; index < 60; index++) {
      const user = simulator.user(index);
      const byTopic = clickRates(user.expose(300, START_MS), (exposure) => topicOf.get(exposure.itemId));
      for (const { itemId, label } of user.candidates(50, START_MS + DAY_MS)) {
        withHistory.push({ score: byTopic(topicOf.get(itemId)), label });
        without.push({ score: popularity(itemId), label });
      }
    }
    expect(auc(without)).toBeGreaterThan(0.52);
    expect(auc(withHistory)).toBeGreaterThan(auc(without) + 0.1);
  });

  it('makes interests drift: long-term interests stay and short-term interests are replaced', () => {
    let kept = 0;
    let replaced = 0;
    for (let index = 0; index < 50; index++) {
      const user = simulator.user(index);
      const before = user.interests();
      for (let session = 0; session < 40; session++) user.expose(SESSION_SIZE, START_MS + session * DAY_MS);
      const after = user.interests();
      for (const [i, interest] of before.entries()) {
        if (after[i]?.topic === interest.topic) kept++;
        else replaced++;
      }
    }
    expect(kept).toBeGreaterThanOrEqual(50 * 5); // three long-term interests and two aversions stay
    expect(replaced).toBeGreaterThan(50 * 1.5); // most of the two short-term interests go
  });

  it('makes drift visible: recent history predicts better than an equal amount of old history', () => {
    const recent: { score: number; label: 0 | 1 }[] = [];
    const old: { score: number; label: 0 | 1 }[] = [];
    for (let index = 0; index < 150; index++) {
      const user = simulator.user(index);
      const exposures = Array.from({ length: 32 }, (_, i) => user.expose(SESSION_SIZE, START_MS + i * DAY_MS)).flat();
      const byRecent = clickRates(exposures.slice(-150), (exposure) => topicOf.get(exposure.itemId));
      const byOld = clickRates(exposures.slice(0, 150), (exposure) => topicOf.get(exposure.itemId));
      for (const { itemId, label } of user.candidates(40, START_MS + 32 * DAY_MS)) {
        recent.push({ score: byRecent(topicOf.get(itemId)), label });
        old.push({ score: byOld(topicOf.get(itemId)), label });
      }
    }
    expect(auc(recent)).toBeGreaterThan(auc(old) + 0.02);
  });

  it('makes the last reaction to an item tell about the next one, with repeat visits', () => {
    const scored: { score: number; label: 0 | 1 }[] = [];
    const world = createFeedSimulator({ seed: SEED, itemCount: 20_000, topicCount: 40, repeatShare: 0.5 });
    for (let index = 0; index < 40; index++) {
      const last = new Map<string, 0 | 1>();
      for (const { itemId, label } of world.user(index).expose(500, START_MS)) {
        const before = last.get(itemId);
        if (before !== undefined) scored.push({ score: before, label });
        last.set(itemId, label);
      }
    }
    expect(scored.length).toBeGreaterThan(40 * 200);
    expect(auc(scored)).toBeGreaterThan(0.72); // 0.68 by topics alone, if users were not attached to items
  });
});
