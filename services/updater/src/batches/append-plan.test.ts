import { type Interaction, RECENT_EVENT_RING } from '@collectivekv/domain';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planWaves, type ReadJob } from './append-plan.js';

let events = 0;
const interaction = (userId: string): Interaction => ({
  eventId: `e${events++}`,
  userId,
  itemId: 'i',
  timestampMs: 1_700_000_000_000,
  action: '',
  features: {},
});
function recordJob(users: readonly string[], progress = 0): ReadJob {
  const taken = { id: `j${events++}`, name: 'record', payload: undefined, queuedAtMs: 0, progress };
  return { taken, job: { kind: 'record', interactions: users.map(interaction) } };
}
function forgetJob(userId: string): ReadJob {
  return { taken: recordJob([]).taken, job: { kind: 'forget', interaction: interaction(userId) } };
}

const users = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 60 });

describe('planWaves', () => {
  it("appends every interaction once, in its user's order, at most 14 of one user in a wave", () => {
    fc.assert(
      fc.property(fc.array(users, { minLength: 1, maxLength: 10 }), (jobs) => {
        const read = jobs.map((list) => recordJob(list));
        const waves = planWaves(read);
        const planned = new Map<string, Interaction[]>();
        for (const wave of waves) {
          if (wave.kind !== 'append') continue;
          for (const [userId, list] of wave.byUser) {
            expect(list.length).toBeLessThanOrEqual(RECENT_EVENT_RING);
            planned.set(userId, [...(planned.get(userId) ?? []), ...list]);
          }
        }
        for (const userId of ['a', 'b', 'c']) {
          const wanted = read.flatMap(({ job }) => (job.kind === 'record' ? job.interactions : []));
          expect(planned.get(userId) ?? []).toEqual(wanted.filter((one) => one.userId === userId));
        }
      }),
    );
  });

  it('finishes every job once, in order, with or after the wave of its last interaction', () => {
    fc.assert(
      fc.property(fc.array(users, { minLength: 1, maxLength: 10 }), (jobs) => {
        const read = jobs.map((list) => recordJob(list));
        const waves = planWaves(read);
        const done = waves.flatMap((wave) => (wave.kind === 'append' ? wave.done : []));
        expect(done).toEqual(read);
        const appended = new Set<Interaction>();
        for (const wave of waves) {
          if (wave.kind !== 'append') continue;
          for (const list of wave.byUser.values()) for (const one of list) appended.add(one);
          for (const { job } of wave.done) {
            if (job.kind === 'record') expect(job.interactions.every((one) => appended.has(one))).toBe(true);
          }
        }
      }),
    );
  });

  it('begins at the wave at which a dead consumer stopped', () => {
    const whole = recordJob(Array(40).fill('a'));
    const waves = planWaves([whole]);
    expect(waves.map((wave) => wave.kind === 'append' && wave.remember?.progress)).toEqual([1, 2, undefined]);
    const resumed = planWaves([{ ...whole, taken: { ...whole.taken, progress: 2 } }]);
    expect(resumed.length).toBe(1);
    expect(resumed[0]).toMatchObject({ byUser: waves[2]?.kind === 'append' ? waves[2].byUser : undefined });
    const over = planWaves([{ ...whole, taken: { ...whole.taken, progress: 99 } }]);
    expect(over).toMatchObject([{ kind: 'append', byUser: new Map() }]);
    expect(over).toMatchObject([{ jobs: [{ job: whole.job }], done: [{ job: whole.job }] }]);
  });

  it.each([
    [RECENT_EVENT_RING, 1],
    [RECENT_EVENT_RING + 1, 2],
    [2 * RECENT_EVENT_RING + 1, 3],
  ])('cuts a job with %i interactions of a user into %i waves', (count, waves) => {
    expect(planWaves([recordJob(Array(count).fill('a'))]).length).toBe(waves);
  });

  it.each([
    ['two jobs that fill the ring of a user together', [Array(7).fill('a'), Array(7).fill('a')], 1],
    ['two jobs that exceed the ring of a user together', [Array(7).fill('a'), Array(8).fill('a')], 2],
    ['a job that fills the ring of a user, and one of another user', [Array(RECENT_EVENT_RING).fill('a'), ['b']], 1],
    ['a job larger than the ring between two small ones', [['b'], Array(RECENT_EVENT_RING + 1).fill('a'), ['b']], 4],
  ])('plans %s', (_, jobs, waveCount) => {
    expect(planWaves(jobs.map((list: string[]) => recordJob(list))).length).toBe(waveCount);
  });

  it('leaves a user out of the waves behind their last interaction', () => {
    const waves = planWaves([recordJob(['b', ...Array(RECENT_EVENT_RING + 1).fill('a')])]);
    expect(waves.map((wave) => wave.kind === 'append' && [...wave.byUser.keys()])).toEqual([['b', 'a'], ['a']]);
  });

  it('has nothing to do for no jobs', () => {
    expect(planWaves([])).toEqual([]);
  });

  it('keeps a removal between the interactions before it and behind it', () => {
    const [before, removal, after] = [recordJob(['a']), forgetJob('a'), recordJob(['a'])];
    const waves = planWaves([before, removal, after]);
    expect(
      waves.map((wave) => (wave.kind === 'erase' ? wave.job.kind : wave.jobs.map(({ taken }) => taken.id))),
    ).toEqual([[before.taken.id], 'forget', [after.taken.id]]);
  });
});
