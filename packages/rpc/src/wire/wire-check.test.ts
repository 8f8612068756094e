import { createRequire } from 'node:module';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { fieldsOf, type MessageDescriptor, wireProblem } from './wire-check.js';

// The copy of protobufjs that reads the requests.
const { Reader, Root } = createRequire(createRequire(import.meta.url).resolve('@grpc/proto-loader'))('protobufjs');

const string = { type: 'TYPE_STRING' };
const types: Record<string, MessageDescriptor> = {
  Column: { field: [{ name: 'name', number: 1, ...string }] },
};
const request = {
  field: [
    { name: 'user_id', number: 1, type: 'TYPE_STRING' },
    { name: 'candidate_ids', number: 2, type: 'TYPE_STRING' },
    { name: 'columns', number: 3, type: 'TYPE_MESSAGE', typeName: 'Column' },
    { name: 'features', number: 4, type: 'TYPE_MESSAGE', typeName: 'Features' },
    { name: 'top_k', number: 7, type: 'TYPE_UINT32' },
    { name: 'timestamp_ms', number: 8, type: 'TYPE_INT64' },
    { name: 'delta', number: 9, type: 'TYPE_INT32' },
    { name: 'text', number: 11, type: 'TYPE_BYTES' },
  ],
  nestedType: [
    {
      name: 'Features',
      field: [
        { name: 'key', number: 1, ...string },
        { name: 'value', number: 2, type: 'TYPE_DOUBLE' },
      ],
    },
  ],
};
const fields = fieldsOf(request, (name) => types[name]);
const id = (length: number) => [
  0x12,
  ...(length < 0x80 ? [length] : [(length & 0x7f) | 0x80, length >> 7]),
  ...Array(length).fill(97),
];
const problemOf = (...bytes: number[]) => wireProblem(Uint8Array.from(bytes), fields)?.field;

describe('wireProblem', () => {
  it('accepts a message, with long and empty ids', () => {
    expect(problemOf(0x0a, 1, 97, ...id(3), ...id(0), ...id(200), ...id(5), 0x38, 3)).toBeUndefined();
  });

  it('finds the entry of a run that is cut off, and a problem behind the run', () => {
    const ids = [...id(3), ...id(4), ...id(5)];
    expect(problemOf(...ids.slice(0, -1))).toBe('candidate_ids');
    expect(problemOf(...ids, 0x12)).toBe('candidate_ids');
    expect(problemOf(...ids, 0x3a, 1, 1)).toBe('top_k');
    expect(problemOf(...ids, 0x38)).toBe('top_k');
  });

  it('finds a problem in the messages of a message', () => {
    expect(problemOf(0x1a, 3, 0x0a, 1, 97, 0x1a, 0)).toBeUndefined();
    expect(problemOf(0x1a, 2, 0x08, 1)).toBe('name');
    expect(problemOf(0x1a, 3, 0x0a, 2, 97)).toBe('name');
    expect(problemOf(0x18, 1)).toBe('columns');
    expect(problemOf(0x22, 3, 0x0a, 1, 97)).toBeUndefined(); // an entry of a map
    expect(problemOf(0x22, 2, 0x08, 1)).toBe('features.key');
    expect(problemOf(0x22, 4, 0x15, 1, 2, 3)).toBe('features.value');
  });

  it('refuses a tag of 2^32 or more, and a tag of more than 5 bytes', () => {
    expect(problemOf(0x8a, 0x80, 0x80, 0x80, 0x10, 1, 97)).toBe('request'); // protobufjs reads field 1
    expect(problemOf(0x8a, 0x80, 0x80, 0x80, 0x80, 0x00, 1, 97)).toBe('request');
    expect(problemOf(0x8a, 0x80, 0x80, 0x80, 0x00, 1, 97)).toBeUndefined();
  });

  it('refuses a length of more than 5 bytes', () => {
    expect(problemOf(0x0a, 0x81, 0x80, 0x80, 0x80, 0x80, 0x00, 97)).toBe('request');
    expect(problemOf(0x7a, 0x81, 0x80, 0x80, 0x80, 0x80, 0x00, 97)).toBe('request');
    expect(problemOf(0x0a, 0x81, 0x80, 0x80, 0x80, 0x00, 97)).toBeUndefined();
  });

  it('refuses a 32-bit number of 6 to 9 bytes, but takes a negative one of 10', () => {
    const varint = (length: number) => [...Array(length - 1).fill(0x80), 0x01];
    for (const length of [6, 7, 8, 9]) {
      expect(problemOf(0x38, ...varint(length))).toBe('request');
      expect(problemOf(0x48, ...varint(length))).toBe('request');
      expect(problemOf(0x40, ...varint(length))).toBeUndefined();
    }
    for (const length of [5, 10]) expect(problemOf(0x48, ...varint(length))).toBeUndefined();
    expect(problemOf(0x48, ...varint(11))).toBe('delta');
  });

  it('refuses an unsigned 32-bit number that protobufjs would wrap', () => {
    expect(problemOf(0x38, 0xff, 0xff, 0xff, 0xff, 0x0f)).toBeUndefined(); // 2^32 - 1
    expect(problemOf(0x38, 0x85, 0x80, 0x80, 0x80, 0x10)).toBe('top_k'); // 2^32 + 5
    expect(problemOf(0x38, ...Array(9).fill(0xff), 0x01)).toBe('top_k'); // -1
    expect(wireProblem(Buffer.of(0x38, 0x85, 0x80, 0x80, 0x80, 0x10), fields)?.message).toBe(
      'top_k: is 4294967301, at most 4294967295 is allowed; send a smaller number',
    );
  });

  it('refuses text that is not UTF-8, and takes any bytes', () => {
    const accented = [0xc3, 0xa9];
    expect(problemOf(0x0a, 2, ...accented, 0x12, 2, ...accented, 0x12, 2, ...accented)).toBeUndefined();
    expect(problemOf(0x5a, 1, 0xff)).toBeUndefined();
    expect(problemOf(0x0a, 1, 0xff)).toBe('user_id');
    expect(problemOf(...id(3), 0x12, 1, 0xc3, 0x12, 1, 0xa9)).toBe('candidate_ids'); // halves of one character
    expect(problemOf(...id(200), 0x12, 1, 0xff, ...id(3))).toBe('candidate_ids');
    expect(problemOf(0x12, 0x80, 1, ...Array(127).fill(97), 0xff, ...id(3))).toBe('candidate_ids');
    expect(problemOf(...id(3), 0x12, 1, 0xff)).toBe('candidate_ids');
    expect(problemOf(0x22, 3, 0x0a, 1, 0xff)).toBe('features.key');
    expect(wireProblem(Buffer.of(0x0a, 1, 0xff), fields)?.message).toMatch(/user_id: is not valid UTF-8.*UTF-8/);
  });

  it('refuses more than 500,000 messages and more than 2,000,000 other entries in a message', () => {
    const entries = (tag: number, count: number) => Buffer.alloc(2 * count, Buffer.of(tag, 0));
    const half = entries(0x1a, 250_000);
    const problem = (...parts: Buffer[]) => wireProblem(Buffer.concat(parts), fields);
    expect(problem(half, half)).toBeUndefined();
    expect(problem(half, entries(0x22, 250_001))).toMatchObject({
      field: 'features',
      message: expect.stringMatching(/more than 500000 messages.*split the call/),
    });
    const ids = entries(0x12, 1_000_000);
    expect(problem(half, half, ids, ids)).toBeUndefined();
    for (const one of [entries(0x12, 1), entries(0x0a, 1), entries(0x7a, 1)]) {
      expect(problem(ids, ids, one)?.message).toMatch(/more than 2000000 entries.*split the call/);
    }
  });
});

describe('numbers in packed form', () => {
  const packed = fieldsOf({ field: [{ name: 'numbers', number: 1, type: 'TYPE_UINT32' }] }, () => undefined);

  it('are refused: protobufjs would read the last one beyond the end of the field', () => {
    expect(wireProblem(Uint8Array.of(0x0a, 6, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80), packed)?.field).toBe('numbers');
    expect(wireProblem(Uint8Array.of(0x08, 1, 0x08, 2), packed)).toBeUndefined();
  });
});

describe('wireProblem and protobufjs', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  const repeated = (type: string, id: number) => ({ rule: 'repeated', type, id, options: { packed: false } });
  const Request = Root.fromJSON({
    nested: {
      Column: { fields: { name: repeated('string', 1) } },
      Request: {
        fields: {
          ids: repeated('string', 1),
          columns: repeated('Column', 2),
          top: repeated('uint32', 3),
          at: repeated('int64', 4),
          delta: repeated('sint32', 5),
        },
      },
    },
  }).lookupType('Request');
  const repeatedFields = fieldsOf(
    {
      field: [
        ['ids', 'STRING'] as const,
        ['columns', 'MESSAGE'] as const,
        ['top', 'UINT32'] as const,
        ['at', 'INT64'] as const,
        ['delta', 'SINT32'] as const,
      ].map(([name, type], i) => {
        return { name, number: i + 1, type: `TYPE_${type}`, typeName: 'Column' };
      }),
    },
    () => ({ field: [{ name: 'name', number: 1, type: 'TYPE_STRING' }] }),
  );

  /** A varint of up to 11 bytes. It may be longer than its value needs, and its value may have more than 32 bits. */
  const varint = (low: fc.Arbitrary<number>) =>
    fc
      .tuple(low, fc.constantFrom(1, 1, 1, 2, 4, 5, 5, 6, 7, 9, 10, 11), fc.constantFrom(0, 0, 0, 1, 0x10))
      .map(([value, length, top]) => {
        if (length === 1) return [value];
        return [value | 0x80, ...Array(length - 2).fill(0x80), top];
      });
  const tag = (number: number, wire: number) => varint(fc.constant(number * 8 + wire));
  const number = fc.constantFrom(3, 4, 5, 6);
  const numberField = number.chain((n) => fc.tuple(tag(n, 0), varint(fc.nat(127)))).map((parts) => parts.flat());
  const lengthField = fc
    .tuple(fc.constantFrom(1, 2, 5, 7), fc.constantFrom([], [97], [0x0a, 0], [0x0a, 1, 97, 0x0a, 0], [0x18, 1], [0xff]))
    .chain(([n, content]) => fc.tuple(tag(n, 2), varint(fc.constant(content.length)), fc.constant(content)))
    .map((parts) => parts.flat());
  const noise = fc.array(fc.constantFrom(0, 1, 2, 0x0a, 0x12, 0x18, 0x80, 0xff), { maxLength: 4 });
  const message = fc.array(
    fc.oneof({ weight: 4, arbitrary: numberField }, { weight: 4, arbitrary: lengthField }, noise),
    {
      maxLength: 6,
    },
  );

  it('read the same number of messages and entries from every request that the check accepts', () => {
    const skipped = vi.spyOn(Reader.prototype, 'skipType');
    let accepted = 0;
    fc.assert(
      fc.property(message, (parts) => {
        const bytes = Buffer.from(parts.flat());
        const counts = { messages: 0, entries: 0 };
        if (wireProblem(bytes, repeatedFields, counts)) return;
        accepted++;
        skipped.mockClear();
        const { ids, columns, top, at, delta } = Request.decode(bytes);
        const names = columns.flatMap(({ name }: { name: string[] }) => name);
        const values = [ids, names, top, at, delta].flat();
        expect(counts).toEqual({ messages: columns.length, entries: values.length + skipped.mock.calls.length });
        expect(values.filter((value) => String(value).includes('\ufffd'))).toEqual([]);
      }),
      { numRuns: 20_000 },
    );
    expect(accepted).toBeGreaterThan(1_000);
  });
});
