import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { RankRequest } from './generated/messages.js';
import { services } from './services.js';

const { requestSerialize, requestDeserialize, requestType } = services.RankingService.service.Rank;
/** What proto-loader alone does. */
const plain = requestType as unknown as { serialize(message: RankRequest): Buffer; deserialize(bytes: Buffer): object };

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
      expect(requestDeserialize(bytes)).toEqual(plain.deserialize(bytes));
    }),
  );
});

it('reads ids that do not stand together, and a cut message as proto-loader reads it', () => {
  const ids = (...candidateIds: string[]) => plain.serialize({ candidateIds });
  const split = Buffer.concat([ids('a', 'b'), plain.serialize({ userId: 'u', topK: 3 }), ids('c')]);
  expect(requestDeserialize(split)).toEqual(plain.deserialize(split));
  for (let length = 0; length < split.length; length++) {
    const cut = split.subarray(0, length);
    const outcome = (read: (bytes: Buffer) => object) => {
      try {
        return read(cut);
      } catch (error) {
        return String(error).replace(/\d+/g, ''); // where it ends is counted from elsewhere
      }
    };
    expect(outcome(requestDeserialize)).toEqual(outcome(plain.deserialize));
  }
});
