import { describe, expect, it } from 'vitest';
import { createFeedSimulator } from './feed-simulator.js';

const START_MS = 1_700_000_000_000;
const DAY_MS = 86_400_000;

describe('feed simulator', () => {
  it('has as many different items as requested, 2,000 by default', () => {
    expect(createFeedSimulator({ seed: 1 }).itemIds).toHaveLength(2_000);
    const { itemIds } = createFeedSimulator({ seed: 1, itemCount: 300 });
    expect(new Set(itemIds).size).toBe(300);
    expect(itemIds[0]).toBe('i0001');
  });

  it.each([
    { itemCount: 1 },
    { topicCount: 1 },
    { itemCount: 9, topicCount: 10 },
    { repeatShare: 1 },
    { repeatShare: -0.1 },
  ])('refuses %o, outside the documented range', (options) => {
    expect(() => createFeedSimulator({ seed: 1, ...options })).toThrow(RangeError);
  });

  it('shows few items again without repeat visits, and the requested share with them', () => {
    const repeats = (repeatShare: number): number => {
      const exposures = createFeedSimulator({ seed: 1, itemCount: 20_000, topicCount: 20, repeatShare })
        .user(3)
        .expose(500, START_MS);
      return 1 - new Set(exposures.map(({ itemId }) => itemId)).size / exposures.length;
    };
    expect(repeats(0)).toBeLessThan(0.15); // few, by chance
    expect(repeats(0.4)).toBeGreaterThan(repeats(0) + 0.3);
  });

  it('gives the same life to the same user of the same seed, and another life to other users and seeds', () => {
    const life = (seed: number, index: number) => {
      const user = createFeedSimulator({ seed }).user(index);
      return [
        user.expose(30, START_MS),
        user.expose(30, START_MS + DAY_MS),
        user.candidates(50, START_MS + 2 * DAY_MS),
      ];
    };
    expect(life(1, 7)).toEqual(life(1, 7));
    expect(life(1, 8)).not.toEqual(life(1, 7));
    expect(life(2, 7)).not.toEqual(life(1, 7));
  });

  it('gives a user the same life regardless of other users', () => {
    const simulator = createFeedSimulator({ seed: 1 });
    simulator.user(0).expose(100, START_MS);
    const after = simulator.user(5).expose(20, START_MS);
    expect(after).toEqual(createFeedSimulator({ seed: 1 }).user(5).expose(20, START_MS));
  });

  it('keeps reactions within their documented ranges and in order of time', () => {
    const exposures = createFeedSimulator({ seed: 3 }).user(12).expose(500, START_MS);
    expect(exposures).toHaveLength(500);
    let lastMs = START_MS - 1;
    for (const { userId, action, label, watchRatio, freshness, hour, timestampMs } of exposures) {
      expect(userId).toBe('u000012');
      expect(label).toBe(action === 'skip' ? 0 : 1);
      expect(watchRatio >= 0 && watchRatio <= 1 && freshness >= 0 && freshness <= 1).toBe(true);
      expect(hour >= 0 && hour < 24).toBe(true);
      expect(timestampMs).toBeGreaterThan(lastMs);
      lastMs = timestampMs;
    }
    expect(new Set(exposures.map((exposure) => exposure.action))).toEqual(new Set(['skip', 'click', 'like']));
  });

  it('does not change a user by asking for candidates', () => {
    const asked = createFeedSimulator({ seed: 1 }).user(1);
    const untouched = createFeedSimulator({ seed: 1 }).user(1);
    const candidates = asked.candidates(200, START_MS);
    expect(asked.candidates(200, START_MS)).toEqual(candidates);
    expect(new Set(candidates.map((candidate) => candidate.itemId)).size).toBe(200);
    expect(asked.expose(100, START_MS)).toEqual(untouched.expose(100, START_MS));
  });

  it('gives every item once if more candidates are requested than exist', () => {
    const { user } = createFeedSimulator({ seed: 1, itemCount: 120 });
    const candidates = user(0).candidates(500, START_MS);
    expect(candidates).toHaveLength(120);
    expect(new Set(candidates.map(({ itemId }) => itemId)).size).toBe(120);
  });
});
