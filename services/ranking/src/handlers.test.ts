import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { RankResponse } from '@collectivekv/contracts';
import { createBundleModel } from '@collectivekv/domain';
import { services } from '@collectivekv/rpc';
import type { CallContext } from '@collectivekv/rpc/server';
import { createLogger } from '@collectivekv/service-kit';
import { describe, expect, it } from 'vitest';
import { createRankingHandlers } from './handlers.js';
import { floatsFrom } from './packed.js';
import { candidatesOf } from './rank-query.js';
import type { RankAnswer } from './ranker.js';
import { createStopwatch } from './stage-timings.js';

const { Rank, RankMany } = services.RankingService.service;
const DEMO = fileURLToPath(new URL('../../../bundles/demo', import.meta.url));
const LONGEST = 'é'.repeat(128); // 256 bytes
const itemIds = ['', 'i1', 'é1', '\u{1f600}', LONGEST, '\ufffd'];
const manifest = JSON.parse(readFileSync(`${DEMO}/bundle.json`, 'utf8'));
manifest.items.count = itemIds.length;
const model = createBundleModel({ manifestBytes: Buffer.from(JSON.stringify(manifest)), itemIds });

/** Handlers whose scores are the candidates' catalogue indices. */
const handlers = createRankingHandlers(
  {
    async rank(query): Promise<RankAnswer> {
      const { itemIndices, unknownCount } = candidatesOf(model, query);
      return {
        scores: Float32Array.from(itemIndices),
        order: new Uint32Array(0),
        bundleId: model.id,
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
      };
    },
  },
  { observe: () => undefined },
  createLogger('test', 'silent'),
);
const call = {} as CallContext;

/** Bytes as a field of a message, its length in one byte or two. */
function field(number: number, bytes: Uint8Array): Buffer {
  const { length } = bytes;
  return Buffer.concat([
    Buffer.from([number * 8 + 2, ...(length < 0x80 ? [length] : [length | 0x80, length >> 7])]),
    bytes,
  ]);
}
const requestOf = (ids: readonly (string | number[])[]) =>
  Buffer.concat([field(1, Buffer.from('u')), ...ids.map((id) => field(2, Buffer.from(id as string)))]);

/** The same as columns. */
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
      'candidate_id_text: is set beside candidate_ids; send one of them',
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
    ['no ids', [], 'candidate_ids: has 0 entries, at least 1 are required; send more'],
  ])('are refused with %s', async (_, ids, message) => {
    const request = requestOf(ids);
    await expect(handlers.Rank(Rank.requestDeserialize(request), call)).rejects.toThrow(message);
    const many = RankMany.requestDeserialize(Buffer.concat([field(1, requestOf(['i1'])), field(1, request)]));
    const { outcomes } = await handlers.RankMany(many, call);
    expect(outcomes?.[1]?.failure).toEqual({ reason: 'invalid_request', message: `requests[1].${message}` });
  });
});
