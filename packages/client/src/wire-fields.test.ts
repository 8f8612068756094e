import { CkvError, invalidRequest } from '@collectivekv/domain';
import { describe, expect, it } from 'vitest';
import { inCallersWords, type Sent } from './wire-fields.js';

describe('an error of a service', () => {
  const sent: Sent = { candidateFeatures: ['price', 'watch_ratio'], contextFeatures: ['hour'] };

  it.each([
    ['user_id', 'userId'],
    ['candidate_ids[7]', 'candidateIds[7]'],
    ['candidate_id_lengths', 'candidateIds'],
    ['candidate_features', 'candidateFeatures'],
    ['candidate_features[1].name', 'candidateFeatures.watch_ratio'],
    ['candidate_features[0].values[3]', 'candidateFeatures.price[3]'],
    ['context_features[0].values[0]', 'contextFeatures.hour'],
    ['recent_interactions[2].item_id', 'recentInteractions[2].itemId'],
    ['recent_interactions[2].features.user_id', 'recentInteractions[2].features.user_id'],
    ['history_policy', 'history'],
    ['top_k', 'topK'],
  ])('names %s as %s', (wire, caller) => {
    const error = inCallersWords(invalidRequest(wire, 'is wrong', 'send it without candidate_ids'), sent);
    expect(error).toMatchObject({ reason: 'invalid_request', field: caller });
    expect(error.message).toBe(`${caller}: is wrong; send it without candidateIds`);
  });

  it('keeps words that are no fields, the delay and the cause', () => {
    const cause = new Error('of the network');
    const thrown = new CkvError('overloaded', 'top_k: watch_ratio', { field: 'top_k', retryAfterMs: 7, cause });
    const error = inCallersWords(thrown);
    expect(error).toMatchObject({ reason: 'overloaded', message: 'topK: watch_ratio', retryAfterMs: 7, cause });
  });

  it('is the same without a field', () => {
    const error = new CkvError('deadline', 'the deadline passed');
    expect(inCallersWords(error)).toBe(error);
  });

  it('names the place in the list of the caller', () => {
    const inPlaceOf = { wire: /^requests\[\d+\]/, caller: () => 'inputs[5]' };
    const thrown = new CkvError('invalid_request', 'requests[0].user_id: is empty; send an id'); // as RankMany sends it
    const error = inCallersWords(thrown, { inPlaceOf });
    expect(error).toMatchObject({ field: 'inputs[5].userId', message: 'inputs[5].userId: is empty; send an id' });
  });
});
