// What callers in plain JavaScript get wrong. Nothing listens at the targets, so a call that is sent fails otherwise.
import { afterAll, describe, expect, it } from 'vitest';
import { createCollectiveKvClient } from './client.js';
import type { InteractionInput, RankInput } from './rank-messages.js';

const kv = createCollectiveKvClient({ rankingTarget: '127.0.0.1:1', interactionTarget: '127.0.0.1:1', maxAttempts: 1 });
afterAll(() => kv.close());

const rankInput = { userId: 'u', candidateIds: ['a', 'b'] };
const interaction = { userId: 'u', itemId: 'a' };
const refused = (field: string) => ({ reason: 'invalid_request', field });

describe('rank refuses', () => {
  it.each<[string, string, object]>([
    ['a misspelt policy', 'history', { history: 'require' }],
    ['the name of an inherited property as a policy', 'history', { history: 'toString' }],
    ['a misspelt field', 'maxStaleness', { maxStaleness: 5 }],
    ['no user', 'userId', { userId: undefined }],
    ['a numeric user', 'userId', { userId: 7 }],
    ['a user with half a surrogate pair', 'userId', { userId: 'u\ud83d' }],
    ['no candidates', 'candidateIds', { candidateIds: undefined }],
    ['candidates in a string', 'candidateIds', { candidateIds: 'ab' }],
    ['candidates in a set', 'candidateIds', { candidateIds: new Set(['a']) }],
    ['an undefined candidate', 'candidateIds[1]', { candidateIds: ['a', undefined] }],
    ['a hole', 'candidateIds[0]', { candidateIds: new Array(2) }],
    ['a numeric candidate', 'candidateIds[1]', { candidateIds: ['a', 7] }],
    ['half a surrogate pair', 'candidateIds[0]', { candidateIds: ['\udc00', 'a'] }],
    ['half a pair at the start that the next id completes', 'candidateIds[0]', { candidateIds: ['\ud83d', '\ude00'] }],
    ['a fraction in topK', 'topK', { topK: 1.5 }],
    ['a topK that wraps', 'topK', { topK: 2 ** 32 + 5 }],
    ['a negative topK', 'topK', { topK: -1 }],
    ['a text topK', 'topK', { topK: '5' }],
    ['a NaN topK', 'topK', { topK: Number.NaN }],
    ['a staleness that wraps', 'maxStalenessMs', { maxStalenessMs: 2 ** 32 + 5 }],
    ['a numeric bundle', 'bundleId', { bundleId: 7 }],
    ['a text feature', 'candidateFeatures.f[1]', { candidateFeatures: { f: [1, '0.5'] } }],
    ['a null feature', 'candidateFeatures.f[0]', { candidateFeatures: { f: [null, 1] } }],
    ['a feature with too few values', 'candidateFeatures.f', { candidateFeatures: { f: [1] } }],
    ['a number for all candidates', 'candidateFeatures.f', { candidateFeatures: { f: 1 } }],
    ['a list of features', 'candidateFeatures', { candidateFeatures: [1, 2] }],
    ['a text context feature', 'contextFeatures.hour', { contextFeatures: { hour: '7' } }],
    ['recent interactions that are no list', 'recentInteractions', { recentInteractions: interaction }],
    ['another user', 'recentInteractions[0].userId', { recentInteractions: [{ itemId: 'a', userId: 'v' }] }],
    ['a null interaction', 'recentInteractions[0].itemId', { recentInteractions: [null] }],
    ['a misspelt field', 'recentInteractions[0].acton', { recentInteractions: [{ itemId: 'a', acton: 'like' }] }],
    [
      'a time in seconds',
      'recentInteractions[0].timestampMs',
      { recentInteractions: [{ itemId: 'a', timestampMs: 1.7e9 }] },
    ],
  ])('%s', async (_, field, change) => {
    const input = { ...rankInput, ...change } as unknown as RankInput;
    await expect(kv.rank(input)).rejects.toMatchObject(refused(field));
    expect(await kv.rankMany([input])).toMatchObject([refused(`inputs[0].${field}`)]);
  });

  it.each([undefined, null, 'u'])('%j as its input', async (input) => {
    await expect(kv.rank(input as unknown as RankInput)).rejects.toMatchObject({ reason: 'invalid_request' });
  });
});

describe('recordInteractions refuses', () => {
  it.each<[string, string, object | null]>([
    ['a time in seconds', 'timestampMs', { timestampMs: 1_700_000_000 }],
    ['a time with a fraction', 'timestampMs', { timestampMs: 1.7e12 + 0.5 }],
    ['a date', 'timestampMs', { timestampMs: new Date() }],
    ['a text feature', 'features.f', { features: { f: '0.5' } }],
    ['a numeric event id', 'eventId', { eventId: 7 }],
    ['an event id with half a surrogate pair', 'eventId', { eventId: '\ud83d' }],
    ['no item', 'itemId', { itemId: undefined }],
    ['a numeric action', 'action', { action: 1 }],
    ['a misspelt field', 'acton', { acton: 'like' }],
  ])('%s', async (_, field, change) => {
    const input = { ...interaction, ...change } as unknown as InteractionInput;
    for (const options of [{}, { idempotencyKey: 'k' }]) {
      const call = kv.recordInteractions([interaction, input], options);
      await expect(call).rejects.toMatchObject(refused(`interactions[1].${field}`));
    }
  });

  it.each([undefined, interaction, 'ab'])('%j as its list', async (list) => {
    const call = kv.recordInteractions(list as unknown as InteractionInput[]);
    await expect(call).rejects.toMatchObject(refused('interactions'));
  });
});

it('refuses to forget an event without its user, with a time in seconds, or with a misspelt field', async () => {
  const forget = (input: object) => kv.forgetInteraction(input as { eventId: string; userId: string });
  await expect(forget({ eventId: 'e' })).rejects.toMatchObject(refused('interaction.userId'));
  const inSeconds = { eventId: 'e', userId: 'u', timestampMs: 1_700_000_000 };
  await expect(forget(inSeconds)).rejects.toMatchObject(refused('interaction.timestampMs'));
  const misspelt = { eventId: 'e', userId: 'u', item: 'a' };
  await expect(forget(misspelt)).rejects.toMatchObject(refused('interaction.item'));
});

it.each<[string, object]>([
  ['timeout', { timeout: 5 }],
  ['timeoutMs', { timeoutMs: '5' }],
  ['timeoutMs', { timeoutMs: Number.NaN }],
  ['timeoutMs', { timeoutMs: 2 ** 32 + 5 }],
])('refuses the call option %s of %j', async (field, options) => {
  await expect(kv.rank(rankInput, options)).rejects.toMatchObject(refused(field));
  await expect(kv.rankMany([rankInput], options)).rejects.toMatchObject(refused(field));
  await expect(kv.recordInteractions([interaction], options)).rejects.toMatchObject(refused(field));
  await expect(kv.forgetInteraction({ eventId: 'e', userId: 'u' }, options)).rejects.toMatchObject(refused(field));
});

it('refuses an idempotency key that is no text', async () => {
  const call = kv.recordInteractions([interaction], { idempotencyKey: 7 as unknown as string });
  await expect(call).rejects.toMatchObject(refused('idempotencyKey'));
});

it.each<[string, object]>([
  ['rankTimeout', { rankTimeout: 5 }],
  ['rankTimeoutMs', { rankTimeoutMs: Number.NaN }],
  ['maxAttempts', { maxAttempts: 0 }],
  ['maxAttempts', { maxAttempts: 1.5 }],
  ['rankStreams', { rankStreams: 'false' }],
  ['useProxy', { useProxy: 1 }],
  ['rankingTarget', { rankingTarget: 50053 }],
  ['rankingTarget', { rankingTarget: 'ranking' }],
  ['rankingTarget', { rankingTarget: 'http://127.0.0.1:50053' }],
  ['interactionTarget', { interactionTarget: 'dns:///updater' }],
])('refuses the client option %s of %j', (field, options) => {
  expect(() => createCollectiveKvClient(options)).toThrow(expect.objectContaining(refused(field)));
});

it('lists the options of callers for an unknown option, and none of our own', () => {
  expect(() => createCollectiveKvClient({ target: 'x' } as object)).toThrow(
    /^target: is not a known field; use one of: rankingTarget, interactionTarget, token, .*rankStreams$/,
  );
  expect(() => createCollectiveKvClient({ target: 'x' } as object)).not.toThrow(/optionNames|onFileOutcome/);
});

it('names an object as what it is', async () => {
  const call = kv.rank({ ...rankInput, userId: {} as unknown as string });
  await expect(call).rejects.toThrow('userId: is an object, ');
});

it.each([0, -5, 0.5])('does not refuse a call that has %d ms left', async (timeoutMs) => {
  const reason = expect.stringMatching(/deadline|dependency_unavailable/);
  await expect(kv.rank(rankInput, { timeoutMs })).rejects.toMatchObject({ reason });
});
