import { describe, expect, it } from 'vitest';
import { forgetJobData, jobIdOf, parseInteractionJob, recordJobData } from './interaction-jobs.js';
import { interactionOf } from './queue.fixture.js';

describe('jobIdOf', () => {
  it('stays the same for stored jobs', () => {
    expect(jobIdOf('record', [interactionOf(1), interactionOf(2)])).toBe('record-56cc7d00155906419e207ab7');
    expect(jobIdOf('forget', [interactionOf(1)])).toBe('forget-7c950979eca10179bc2568ea');
  });

  it('depends on the kind, the users, the events, and their order', () => {
    const batches = [
      [interactionOf(1), interactionOf(2)],
      [interactionOf(2), interactionOf(1)],
      [interactionOf(1)],
      [interactionOf(1, 'v')],
      [{ ...interactionOf(1), userId: 'ue', eventId: '1' }],
    ];
    const ids = batches.flatMap((batch) => [jobIdOf('record', batch), jobIdOf('forget', batch)]);
    expect(new Set(ids).size).toBe(10);
  });
});

describe('parseInteractionJob', () => {
  it('reads the data that recordJobData and forgetJobData make', () => {
    const interactions = Array.from({ length: 500 }, (_, i) => interactionOf(i + 1));
    expect(parseInteractionJob('record', recordJobData(interactions))).toEqual({ kind: 'record', interactions });
    const interaction = interactionOf(1);
    expect(parseInteractionJob('forget', forgetJobData(interaction))).toEqual({ kind: 'forget', interaction });
  });

  it.each([
    ['record', 'text', 'data'],
    ['record', undefined, 'data'],
    ['record', { version: 1, interactions: { length: 1 } }, 'data.interactions'],
    ['forget', { version: 2, interaction: interactionOf(1) }, 'data.version'],
    ['forget', { version: 1 }, 'data.interaction.eventId'],
  ])('refuses a %s job with the data %j and names %s', (name, jobData, field) => {
    expect(() => parseInteractionJob(name, jobData)).toThrow(
      expect.objectContaining({ reason: 'invalid_request', field }),
    );
  });
});
