import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { RankManyRequest, RankRequest, RankRequest__Output } from './generated/messages.js';
import type { PackedIds } from './packed-ids.js';
import { services } from './services.js';

const { Rank, RankMany } = services.RankingService.service;
const { requestSerialize, requestDeserialize } = Rank;
/** What proto-loader alone does. */
const plain = Rank.requestType as unknown as Plain<RankRequest, object>;
const plainMany = RankMany.requestType as unknown as Plain<RankManyRequest, { requests: object[] }>;

interface Plain<Request, Received> {
  serialize(message: Request): Buffer;
  deserialize(bytes: Buffer): Received;
}

const strings = (ids: PackedIds) => Array.from({ length: ids.length }, (_, i) => ids.at(i));
/** A received request as proto-loader would give it. */
const unpacked = (received: RankRequest__Output) => ({ ...received, candidateIds: strings(received.candidateIds) });
const read = (bytes: Buffer) => unpacked(requestDeserialize(bytes));
const readMany = (bytes: Buffer) => ({ requests: RankMany.requestDeserialize(bytes).requests.map(unpacked) });

const id = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ maxLength: 20, unit: 'grapheme' }),
  fc.string({ minLength: 120, maxLength: 140 }),
  fc.string({ minLength: 120, maxLength: 140, unit: 'grapheme' }),
);
const request: fc.Arbitrary<RankRequest> = fc.record(
  {
    userId: id,
    candidateIds: fc.array(id, { maxLength: 12 }),
    contextFeatures: fc.array(fc.record({ name: id, values: fc.constant(Buffer.from([1, 2, 3, 4])) }), {
      maxLength: 2,
    }),
    topK: fc.nat(9),
  },
  { requiredKeys: [] },
);

it('writes the bytes that proto-loader writes, and reads what it reads', () => {
  fc.assert(
    fc.property(request, (message) => {
      const bytes = requestSerialize(message);
      expect(bytes).toEqual(plain.serialize(message));
      expect(read(bytes)).toEqual(plain.deserialize(bytes));
    }),
  );
});

it('reads the requests of a RankMany as proto-loader reads them', () => {
  fc.assert(
    fc.property(fc.array(request, { maxLength: 3 }), (requests) => {
      const bytes = plainMany.serialize({ requests });
      expect(readMany(bytes)).toEqual(plainMany.deserialize(bytes));
    }),
  );
});

it('reads ids that are no UTF-8 as proto-loader reads them, in bytes that are', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 6 }), { maxLength: 6 }), (ids) => {
      const bytes = Buffer.concat(ids.flatMap((one) => [Buffer.from([0x12, one.length]), one]));
      const { candidateIds } = requestDeserialize(bytes);
      const texts = ids.map((one) => Buffer.from(one).toString());
      expect(strings(candidateIds)).toEqual(texts);
      expect(plain.deserialize(bytes)).toMatchObject({ candidateIds: texts });
      texts.forEach((text, i) => {
        expect(candidateIds.bytes.subarray(candidateIds.from(i), candidateIds.to(i))).toEqual(Buffer.from(text));
      });
    }),
  );
});

it('leaves short ids in the bytes of the message', () => {
  const candidateIds = ['é', ...Array(9_999).fill('a'), ''];
  const bytes = requestSerialize({ userId: 'u', candidateIds, topK: 3 });
  expect(requestDeserialize(bytes).candidateIds.bytes).toBe(bytes);
  const many = RankMany.requestSerialize({ requests: [{ userId: 'u' }, { candidateIds }] });
  const second = RankMany.requestDeserialize(many).requests[1]?.candidateIds;
  expect(second?.length).toBe(candidateIds.length);
  expect(second?.bytes.buffer).toBe(many.buffer);
});

const UNKNOWN_FIELD = Buffer.of(15 * 8, 1);
const asked = (...candidateIds: string[]) => plain.serialize({ candidateIds });
const askedMany = (...ids: string[]) => plainMany.serialize({ requests: ids.map((one) => ({ candidateIds: [one] })) });

it.each([
  ['ids', read, plain.deserialize, [asked('a', 'b'), plain.serialize({ userId: 'u', topK: 3 }), asked('c')]],
  ['requests', readMany, plainMany.deserialize, [askedMany('a', 'b'), UNKNOWN_FIELD, askedMany('c')]],
] as const)(
  'reads %s that do not stand together, and a cut message as proto-loader reads it',
  (_, ours, loaders, parts) => {
    const split = Buffer.concat(parts);
    expect(ours(split)).toEqual(loaders(split));
    for (let length = 0; length < split.length; length++) {
      const cut = split.subarray(0, length);
      const outcome = (readOne: (bytes: Buffer) => object) => {
        try {
          return readOne(cut);
        } catch (error) {
          return String(error).replace(/\d+/g, ''); // where it ends is counted from elsewhere
        }
      };
      expect(outcome(ours)).toEqual(outcome(loaders));
    }
  },
);
