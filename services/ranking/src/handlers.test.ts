import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { RankRequest, RankResponse } from '@collectivekv/contracts';
import { CkvError, createBundleModel } from '@collectivekv/domain';
import { services } from '@collectivekv/rpc';
import { type CallContext, createAdmission } from '@collectivekv/rpc/server';
import type { Logger } from '@collectivekv/service-kit';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { createRankingHandlers } from './handlers.js';
import { floatsFrom } from './packed.js';
import type { RankBasis } from './rank-basis.js';
import { candidatesOf, type RankQuery } from './rank-query.js';
import type { RankAnswer, Ranker } from './ranker.js';
import { createStopwatch } from './stage-timings.js';

const { Rank, RankMany } = services.RankingService.service;
const TARGET = fileURLToPath(new URL('../../../test/fixtures/bundles/target', import.meta.url));
const LONGEST = 'é'.repeat(128); // 256 bytes
const itemIds = ['', 'i1', 'é1', '\u{1f600}', LONGEST, '\ufffd'];
const manifest = JSON.parse(readFileSync(`${TARGET}/bundle.json`, 'utf8'));
manifest.items.count = itemIds.length;
const model = createBundleModel({ manifestBytes: Buffer.from(JSON.stringify(manifest)), itemIds });

const observe = vi.fn();
const logError = vi.fn();
const queries: RankQuery[] = [];
/** Overrides of the next answers, and the failure of the next request. */
let overrides: Partial<RankAnswer> = {};
let failure: unknown;
beforeEach(() => {
  overrides = {};
  failure = undefined;
  queries.length = 0;
  vi.clearAllMocks();
});

/** Handlers whose scores are the candidates' catalogue indices. */
const ranker: Ranker = {
  async rank(query): Promise<RankAnswer> {
    queries.push(query);
    if (failure) throw failure;
    const { itemIndices, unknownCount } = candidatesOf(model, query);
    return {
      scores: Float32Array.from(itemIndices),
      order: new Uint32Array(0),
      bundleId: model.id,
      encodingId: model.encodingId,
      servedAs: 'active',
      canaryShareBp: 0,
      positionCount: 0,
      mergedCount: 0,
      unknownCandidateCount: unknownCount,
      recordAgeMs: 0,
      lastEventMs: 0,
      coldUser: true,
      rung: 'full',
      rungReason: '',
      partCount: 1,
      timings: createStopwatch().finish(),
      basis: {} as RankBasis, // the handlers do not look at it
      capture: 'none',
      ...overrides,
    };
  },
};
const engine = { device: 'cuda:1', precision: 'tf32', mostUsers: 1 } as const;
const handlers = createRankingHandlers({
  ranker,
  engine,
  mostWaiting: 256,
  metrics: { observe },
  admission: createAdmission({ load: () => 'spare', started: { least: 64, most: 64 }, mostWaiting: 1 }),
  log: { error: logError } as unknown as Logger,
});
const call = { deadlineMs: Number.POSITIVE_INFINITY } as CallContext;

/** Returns a field of a message: its number, its length in one or two bytes, its bytes. */
function field(number: number, bytes: Uint8Array): Buffer {
  const { length } = bytes;
  return Buffer.concat([
    Buffer.from([number * 8 + 2, ...(length < 0x80 ? [length] : [length | 0x80, length >> 7])]),
    bytes,
  ]);
}
const requestOf = (ids: readonly (string | number[])[]) =>
  Buffer.concat([field(1, Buffer.from('u')), ...ids.map((id) => field(2, Buffer.from(id as string)))]);

/** The same request with its ids in a column. */
function packedRequestOf(ids: readonly (string | number[])[]): Buffer {
  const texts = ids.map((id) => Buffer.from(id as string));
  const lengths = Uint32Array.from(texts, ({ length }) => length);
  return Rank.requestSerialize({
    userId: 'u',
    candidateIdText: Buffer.concat(texts),
    candidateIdLengths: Buffer.from(lengths.buffer),
  });
}

const found = ({ scores, info }: RankResponse) => ({
  indices: [...floatsFrom(scores as Buffer)],
  unknown: info?.unknownCandidateCount,
});

describe('candidate ids', () => {
  it.each([
    ['of the catalogue', ['\u{1f600}', 'i1', 'é1', 'i1'], [3, 1, 2, 1]],
    ['of 256 bytes', ['i1', LONGEST], [1, 4]],
    ['that are unknown', ['i', 'i11', 'I1', 'e\u03011', 'i1'], [0, 0, 0, 0, 1]],
  ])('%s are found by Rank and by RankMany, as strings and as a column', async (_, ids, indices) => {
    const requests = [requestOf(ids), packedRequestOf(ids)];
    const wanted = { indices, unknown: indices.filter((index) => index === 0).length };
    for (const request of requests) {
      expect(found(await handlers.Rank(Rank.requestDeserialize(request), call))).toEqual(wanted);
    }
    const many = RankMany.requestDeserialize(Buffer.concat(requests.map((request) => field(1, request))));
    const { outcomes } = await handlers.RankMany(many, call);
    expect(outcomes?.map(({ response }) => response && found(response))).toEqual([wanted, wanted]);
  });

  it('that are not UTF-8 are read with U+FFFD in strings, and are unknown in a column', async () => {
    const ids = [[0x69, 0x31], [0xff], [0xe9, 0x31], [0xed, 0xa0, 0xbd]];
    const rank = async (request: Buffer) => found(await handlers.Rank(Rank.requestDeserialize(request), call)).indices;
    expect(await rank(requestOf(ids))).toEqual([1, 5, 0, 0]);
    expect(await rank(packedRequestOf(ids))).toEqual([1, 0, 0, 0]);
  });

  it('are refused as strings and as a column in one request', async () => {
    const request = Buffer.concat([packedRequestOf(['i1']), requestOf(['i1'])]);
    await expect(handlers.Rank(Rank.requestDeserialize(request), call)).rejects.toThrow(
      'candidate_id_text: is set together with candidate_ids; send only one of them',
    );
  });

  it.each([
    ['an empty id', ['i1', ''], 'candidate_ids[1]: is missing or empty, 1 to 256 bytes are required; set it'],
    ['257 bytes', [`${LONGEST}a`], 'candidate_ids[0]: has 257 bytes, at most 256 are allowed; send a shorter one'],
    [
      '86 bad bytes',
      ['a', Array(86).fill(0xff)],
      'candidate_ids[1]: has 258 bytes, at most 256 are allowed; send a shorter one',
    ],
    ['no ids', [], 'candidate_ids: has 0 entries, 1 or more are required; send more'],
  ])('are refused with %s', async (_, ids, message) => {
    const request = requestOf(ids);
    await expect(handlers.Rank(Rank.requestDeserialize(request), call)).rejects.toThrow(message);
    const many = RankMany.requestDeserialize(Buffer.concat([field(1, requestOf(['i1'])), field(1, request)]));
    const { outcomes } = await handlers.RankMany(many, call);
    expect(outcomes?.[1]?.failure).toEqual({ reason: 'invalid_request', message: `requests[1].${message}` });
  });
});

/** Returns a request whose ids cannot be read. */
const columnRequest = (lengths: Buffer, candidateIds: readonly string[] = []) =>
  Object.assign(Rank.requestDeserialize(requestOf([])), { candidateIds, candidateIdLengths: lengths });

describe('the number of candidate ids', () => {
  it.each([
    ['strings', columnRequest(Buffer.of(), Array(10_001).fill(undefined))],
    ['a column', columnRequest(Buffer.alloc(4 * 10_001, 1))],
  ])('is checked before the ids are read: %s', async (_, request) => {
    await expect(handlers.Rank(request, call)).rejects.toThrow(
      'has 10001 entries, at most 10000 are allowed; split the call',
    );
  });

  it('may be 10,000', async () => {
    failure = new CkvError('dependency_unavailable', 'enough');
    const request = Rank.requestDeserialize(packedRequestOf(Array(10_000).fill('i1')));
    await expect(handlers.Rank(request, call)).rejects.toThrow('enough');
    expect(queries[0]?.candidateIds.length).toBe(10_000);
  });
});

describe('RankMany behind an admission', () => {
  const many = (count: number) =>
    RankMany.requestDeserialize(
      RankMany.requestSerialize({
        requests: Array.from({ length: count }, () => ({ userId: 'u', candidateIds: ['i1'] })),
      }),
    );
  /** Handlers behind an admission of their own. `began` counts the requests in the ranker, which never ends. */
  function handlersBehind(mostWaiting: number, mostUsers = 1) {
    const admission = createAdmission({ load: () => 'full', started: { least: 1, most: 1 }, mostWaiting });
    const rank = vi.fn(() => new Promise<RankAnswer>(() => undefined));
    const log = { error: logError } as unknown as Logger;
    const parts = {
      ranker: { rank },
      metrics: { observe },
      admission,
      mostWaiting,
      engine: { ...engine, mostUsers },
      log,
    };
    return { RankMany: createRankingHandlers(parts).RankMany, rank, admission };
  }

  it('takes 16 places at most, however many requests it has', async () => {
    const { RankMany, rank, admission } = handlersBehind(100);
    void RankMany(many(64), call);
    await vi.waitUntil(() => rank.mock.calls.length === 1);
    expect([admission.startedCount, admission.waitingCount]).toEqual([1, 15]);
  });

  it.each([
    [8, 15],
    [40, 39],
    [64, 49],
  ])('takes as many places as users share a run, if %i are more than 16', async (mostUsers, waitingCount) => {
    const { RankMany, rank, admission } = handlersBehind(256, mostUsers);
    void RankMany(many(50), call);
    await vi.waitUntil(() => rank.mock.calls.length === 1);
    expect([admission.startedCount, admission.waitingCount]).toEqual([1, waitingCount]);
  });

  it('leaves most places to others, however many users share a run', async () => {
    const { RankMany, rank, admission } = handlersBehind(80, 64);
    void RankMany(many(50), call);
    await vi.waitUntil(() => rank.mock.calls.length === 1);
    expect([admission.startedCount, admission.waitingCount]).toEqual([1, 19]);
  });

  it('fails for the requests that overload refuses, and for no others', async () => {
    await handlers.RankMany(many(1), call);
    const admission = createAdmission({ load: () => 'full', started: { least: 1, most: 1 }, mostWaiting: 3 });
    const log = { error: logError } as unknown as Logger;
    const behind = createRankingHandlers({ ranker, metrics: { observe }, admission, mostWaiting: 256, engine, log });
    const { outcomes = [] } = await behind.RankMany(many(16), call);
    const failures = outcomes.flatMap(({ failure }) => (failure ? [failure.reason] : []));
    expect(failures).toEqual(Array(16 - 4).fill('overloaded'));
    expect(outcomes.filter(({ response }) => response).length).toBe(4);
  });

  it('begins no further request after a refusal, and is no flood', async () => {
    let nowMs = 1_000;
    const bounds = { started: { least: 1, most: 1 }, mostWaiting: 12, nowMs: () => nowMs };
    const admission = createAdmission({ load: () => 'full', ...bounds });
    const log = { error: logError } as unknown as Logger;
    const behind = createRankingHandlers({ ranker, metrics: { observe }, admission, mostWaiting: 256, engine, log });
    expect(admission.full).toBe(false);
    const { outcomes = [] } = await behind.RankMany(many(64), call);
    expect(outcomes.map(({ failure }) => failure?.reason)).toEqual([
      ...Array(13).fill(undefined),
      ...Array(64 - 13).fill('overloaded'),
    ]);
    expect(queries.length).toBe(13);
    nowMs += 100;
    for (let i = 0; i < 13; i++) void admission.run(call, () => new Promise(() => undefined)).catch(() => undefined);
    expect(admission.waitingCount).toBe(12); // in a flood, 8 may wait
  });

  it('begins no further request after the engine refused one', async () => {
    failure = new CkvError('overloaded', 'too many runs');
    const { outcomes = [] } = await handlers.RankMany(many(64), call);
    expect(outcomes.map(({ failure }) => failure?.message)).toEqual(Array(64).fill('too many runs'));
    expect(queries.length).toBe(16);
  });

  it('begins none of the requests that wait once its caller has left', async () => {
    const { RankMany, rank } = handlersBehind(100);
    const ended = new CkvError('cancelled', 'gone');
    const { outcomes = [] } = await RankMany(many(64), { ...call, ended });
    expect(outcomes.map(({ failure }) => failure?.reason)).toEqual(Array(64).fill('cancelled'));
    expect(rank).not.toHaveBeenCalled();
  });
});

/** Sends a request as a caller does. */
const send = (request: RankRequest) =>
  handlers.Rank(
    Rank.requestDeserialize(Rank.requestSerialize({ userId: 'u', candidateIds: ['i1'], ...request })),
    call,
  );
const recentOf = (userId: string) => ({ eventId: 'e', userId, itemId: 'i1', timestampMs: 1_700_000_000_000 });
const singles = (...values: number[]) => Buffer.from(Float32Array.from(values).buffer);

describe('a request', () => {
  it('becomes a query with every field', async () => {
    await send({
      candidateFeatures: [{ name: 'freshness', values: singles(0.25) }],
      contextFeatures: [{ name: 'hour', values: singles(7) }],
      recentInteractions: [recentOf('u')],
      maxStalenessMs: 3_600_000,
      topK: 5,
      bundleId: model.id,
      historyPolicy: 'HISTORY_POLICY_REQUIRED',
      captureId: 'c-1',
    });
    expect(queries).toMatchObject([
      {
        userId: 'u',
        candidateFeatures: [{ name: 'freshness', values: Float32Array.of(0.25) }],
        contextFeatures: [{ name: 'hour', values: Float32Array.of(7) }],
        recentInteractions: [{ eventId: 'e', userId: 'u', itemId: 'i1', timestampMs: 1_700_000_000_000 }],
        maxStalenessMs: 3_600_000,
        topK: 5,
        bundleId: model.id,
        historyPolicy: 'required',
        captureId: 'c-1',
      },
    ]);
  });

  it.each([
    ['HISTORY_POLICY_UNSPECIFIED', 'preferred'],
    ['HISTORY_POLICY_PREFERRED', 'preferred'],
    ['HISTORY_POLICY_IGNORED', 'ignored'],
  ] as const)('with %s has the policy %s', async (historyPolicy, wanted) => {
    await send({ historyPolicy });
    expect(queries[0]?.historyPolicy).toBe(wanted);
  });

  it.each([
    ['user_id: is missing or empty', { userId: '' }],
    ['recent_interactions[0].userId: is not user_id', { recentInteractions: [recentOf('v')] }],
    ['recent_interactions: has 101 entries', { recentInteractions: Array(101).fill(recentOf('u')) }],
    ['max_staleness_ms: is 3600001, at most 3600000 is allowed', { maxStalenessMs: 3_600_001 }],
    ['bundle_id: is not 16 hexadecimal characters', { bundleId: 'demo' }],
    ['capture_id: is not 1 to 64 letters, digits, _ and -', { captureId: '../c' }],
    ['capture_id: is not 1 to 64 letters, digits, _ and -', { captureId: 'c'.repeat(65) }],
    ['history_policy: is not a known policy', { historyPolicy: 9 as never }],
    ['context_features[0].values: has 5 bytes', { contextFeatures: [{ name: 'hour', values: Buffer.alloc(5) }] }],
    ['candidate_features: has 65 entries', { candidateFeatures: Array(65).fill({ name: 'freshness' }) }],
  ] satisfies [string, RankRequest][])('is refused if %s', async (message, request) => {
    await expect(send(request)).rejects.toMatchObject({
      reason: 'invalid_request',
      message: expect.stringContaining(message),
    });
    expect(queries).toEqual([]);
  });
});

describe('a request to explain', () => {
  const explaining = { deadlineMs: Number.POSITIVE_INFINITY, refusal: () => undefined } as unknown as CallContext;
  const sent = (request: RankRequest) =>
    Rank.requestDeserialize(Rank.requestSerialize({ userId: 'u', candidateIds: ['i1'], explain: true, ...request }));

  it('is a query that asks for an explanation, and its answer has one', async () => {
    const position = {
      index: 2,
      itemId: 'i1',
      values: [{ field: 'item', value: 1 }],
      contribution: 0.5,
      ownContribution: 0.25,
      scoreWithout: 0.125,
      attention: Float32Array.of(1, 0.5),
    };
    overrides = {
      explanation: {
        method: 'attention',
        parts: [{ name: 'history', headCount: 2 }],
        groups: Uint32Array.of(0, 1, 1),
        candidates: [
          {
            scoreWithoutHistory: 0.75,
            contributions: Float32Array.of(0, 0, 0.5),
            ownContributions: Float32Array.of(0, 0, 0.25),
            positions: [position],
          },
        ],
      },
    };
    const response = await handlers.Rank(sent({}), explaining);
    expect(queries[0]?.explain).toBe(true);
    const { explanation } = Rank.responseDeserialize(Rank.responseSerialize(response));
    expect(explanation).toMatchObject({
      method: 'EXPLANATION_METHOD_ATTENTION',
      parts: [{ name: 'history', headCount: 2 }],
      groups: Buffer.from(Uint32Array.of(0, 1, 1).buffer),
      candidates: [
        {
          scoreWithoutHistory: 0.75,
          contributions: singles(0, 0, 0.5),
          ownContributions: singles(0, 0, 0.25),
          positions: [{ ...position, attention: singles(1, 0.5) }],
        },
      ],
    });
  });

  it.each([
    [
      '11 candidates',
      { candidateIds: Array(11).fill('i1') },
      'candidate_ids: has 11 entries, at most 10 are allowed with explain; rank without explain',
    ],
  ])('is refused with %s', async (_, request, message) => {
    await expect(handlers.Rank(sent(request), explaining)).rejects.toMatchObject({
      reason: 'invalid_request',
      message: expect.stringContaining(message),
    });
    expect(queries).toEqual([]);
  });

  it('is refused in a RankMany', async () => {
    const { outcomes } = await handlers.RankMany({ requests: [sent({})] }, explaining);
    const message = 'requests[0].explain: is set in a RankMany; send the request with Rank';
    expect(outcomes).toEqual([{ failure: { reason: 'invalid_request', message } }]);
  });

  it('is refused for a caller who may not read records', async () => {
    const denied = new CkvError('permission_denied', 'no');
    const refusal = vi.fn(() => denied);
    const call = { ...explaining, refusal } as unknown as CallContext;
    await expect(handlers.Rank(sent({}), call)).rejects.toBe(denied);
    expect(refusal).toHaveBeenCalledWith('RankingService/Rank with explain');
    expect(queries).toEqual([]);
    await handlers.Rank(sent({ explain: false }), call);
    expect(queries).toHaveLength(1);
  });
});

describe('an answer', () => {
  it('becomes a response, and is counted after it', async () => {
    overrides = {
      order: Uint32Array.of(1, 0),
      servedAs: 'canary',
      canaryShareBp: 500,
      positionCount: 5,
      mergedCount: 2,
      recordAgeMs: 12.4,
      lastEventMs: 99,
      coldUser: false,
      rung: 'recent_only',
      rungReason: 'deadline',
      capture: 'id_used',
      timings: { fetch: 1, encode: 2, gather: 3, assemble: 4, attend: 5, total: 6 },
    };
    const { order, info } = await send({ candidateIds: ['i1', 'none'] });
    expect(order).toEqual(Buffer.from(Uint32Array.of(1, 0).buffer));
    expect(info).toEqual({
      bundleId: model.id,
      encodingId: model.encodingId,
      positionCount: 5,
      mergedCount: 2,
      unknownCandidateCount: 1,
      recordAgeMs: 12,
      lastEventMs: 99,
      coldUser: false,
      rung: 'DEGRADATION_RUNG_RECENT_ONLY',
      rungReason: 'deadline',
      canaryShareBp: 500,
      timings: { fetchUs: 1, encodeUs: 2, gatherUs: 3, assembleUs: 4, attendUs: 5, totalUs: 6 },
      capture: 'CAPTURE_OUTCOME_ID_USED',
      device: 'cuda:1',
      precision: 'tf32',
    });
    const counted = [expect.objectContaining(overrides), 2];
    expect(observe.mock.calls).not.toContainEqual(counted);
    await expect.poll(() => observe.mock.calls).toContainEqual(counted);
  });
});

describe('RankMany', () => {
  const many = (count: number) =>
    handlers.RankMany(
      RankMany.requestDeserialize(
        RankMany.requestSerialize({ requests: Array(count).fill({ userId: 'u', candidateIds: ['i1'] }) }),
      ),
      call,
    );

  it.each([
    [0, 'requests: has 0 entries'],
    [65, 'requests: has 65 entries'],
  ])('refuses %i requests', async (count, message) => {
    await expect(many(count)).rejects.toThrow(message);
  });

  it('answers a failure with its reason, and logs nothing', async () => {
    failure = new CkvError('overloaded', 'too much');
    const { outcomes } = await many(2);
    expect(outcomes).toEqual(Array(2).fill({ failure: { reason: 'overloaded', message: 'too much' } }));
    expect(logError).not.toHaveBeenCalled();
  });

  it('keeps the text of an unknown error from the caller, and logs it', async () => {
    failure = new Error('secret');
    const { outcomes } = await many(1);
    expect(outcomes?.[0]?.failure?.reason).toBe('bug');
    expect(outcomes?.[0]?.failure?.message).not.toContain('secret');
    expect(logError).toHaveBeenCalledWith(expect.objectContaining({ err: failure }), expect.any(String));
  });
});
