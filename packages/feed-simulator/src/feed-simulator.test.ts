import { describe, expect, it } from 'vitest';
import { createFeedSimulator } from './feed-simulator.js';

const START_MS = 1_700_000_000_000;
const DAY_MS = 86_400_000;

describe('feed simulator', () => {
  it('has the items it was asked for, each once', () => {
    expect(createFeedSimulator({ seed: 1 }).itemIds).toHaveLength(2_000);
    const { itemIds } = createFeedSimulator({ seed: 1, itemCount: 300 });
    expect(new Set(itemIds).size).toBe(300);
    expect(itemIds[0]).toBe('i0001');
    expect(() => createFeedSimulator({ seed: 1, itemCount: 1 })).toThrow(RangeError);
  });

  it('gives the same life to the same user of the same seed, and another to any other', () => {
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

  it('gives a user the same life whichever users lived before it', () => {
    const simulator = createFeedSimulator({ seed: 1 });
    simulator.user(0).expose(100, START_MS);
    const after = simulator.user(5).expose(20, START_MS);
    expect(after).toEqual(createFeedSimulator({ seed: 1 }).user(5).expose(20, START_MS));
  });

  it('reacts within the documented ranges, in time order', () => {
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

  it('asks for candidates without changing the user', () => {
    const asked = createFeedSimulator({ seed: 1 }).user(1);
    const left = createFeedSimulator({ seed: 1 }).user(1);
    const candidates = asked.candidates(200, START_MS);
    expect(asked.candidates(200, START_MS)).toEqual(candidates);
    expect(new Set(candidates.map((candidate) => candidate.itemId)).size).toBe(200);
    expect(asked.expose(100, START_MS)).toEqual(left.expose(100, START_MS));
  });

  it('gives at most as many candidates as there are items', () => {
    const { user } = createFeedSimulator({ seed: 1, itemCount: 120 });
    expect(user(0).candidates(500, START_MS)).toHaveLength(120);
  });

  it('makes 100,000 exposures in well under a few seconds', () => {
    const simulator = createFeedSimulator({ seed: 1 });
    const startMs = performance.now();
    for (let index = 0; index < 100; index++) simulator.user(index).expose(1_000, START_MS);
    expect(performance.now() - startMs).toBeLessThan(5_000); // about 0.4 s on an idle core
  });
});
