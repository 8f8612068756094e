import { describe, expect, it } from 'vitest';
import { fieldsOf, type MessageDescriptor, wireProblem } from './wire-check.js';

const string = { type: 'TYPE_STRING', label: 'LABEL_OPTIONAL' };
const types: Record<string, MessageDescriptor> = {
  Column: { field: [{ name: 'name', number: 1, ...string }] },
};
const request = {
  field: [
    { name: 'user_id', number: 1, type: 'TYPE_STRING', label: 'LABEL_OPTIONAL' },
    { name: 'candidate_ids', number: 2, type: 'TYPE_STRING', label: 'LABEL_REPEATED' },
    { name: 'columns', number: 3, type: 'TYPE_MESSAGE', label: 'LABEL_REPEATED', typeName: 'Column' },
    { name: 'features', number: 4, type: 'TYPE_MESSAGE', label: 'LABEL_REPEATED', typeName: 'x.FeaturesEntry' },
    { name: 'top_k', number: 7, type: 'TYPE_UINT32', label: 'LABEL_OPTIONAL' },
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
    expect(problemOf(0x22, 2, 0x08, 1)).toBeUndefined(); // an entry of a map: it has no type of its own
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
