import { describe, expect, it } from 'vitest';
import { openCapture, sealCapture } from './capture-file.js';
import { captureKeysIn, userTag } from './capture-keys.js';

const FILE = { field: 'CKV_CAPTURE_KEY_FILE', path: '/keys' };
const keysOf = (...lines: string[]) => captureKeysIn(FILE, Buffer.from(lines.join('\n')));
const [KEY, OTHER] = ['1f'.repeat(32), 'A0'.repeat(32)];
const content = Buffer.from('what a request depended on');

describe.each([
  ['encrypted', keysOf(KEY)],
  ['plain', []],
])('an %s capture', (_, keys) => {
  const sealed = sealCapture(content, keys[0]);

  it('opens', () => {
    expect(openCapture('c', sealed, keys)).toEqual(content);
  });

  it('is refused if any bit of any byte is flipped, or any end is cut off', () => {
    for (let at = 0; at < sealed.length; at++) {
      const flipped = Buffer.from(sealed);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      expect(() => openCapture('c', flipped, keys)).toThrow(
        expect.objectContaining({ reason: 'invalid_request', field: 'c' }),
      );
      expect(() => openCapture('c', sealed.subarray(0, at), keys)).toThrow(
        expect.objectContaining({ reason: 'invalid_request', field: 'c' }),
      );
    }
  });
});

describe('an encrypted capture', () => {
  const sealed = sealCapture(content, keysOf(KEY)[0]);

  it('shows none of its content', () => {
    expect(sealed.includes(content.subarray(0, 8))).toBe(false);
    expect(sealCapture(content, keysOf(KEY)[0]).equals(sealed)).toBe(false); // no nonce comes twice
  });

  it('opens with a former key of the file', () => {
    expect(openCapture('c', sealed, keysOf(OTHER, '# the former one', KEY, ''))).toEqual(content);
  });

  it.each([
    ['another key', keysOf(OTHER)],
    ['no key', []],
  ])('is refused with %s, which names the ids of the keys', (_, keys) => {
    const ids = keys.map(({ id }) => id.toString('hex')).join() || 'none';
    expect(() => openCapture('c', sealed, keys)).toThrow(
      `c: is encrypted with key ${keysOf(KEY)[0]?.id.toString('hex')}, and the given keys are: ${ids}; name the key file`,
    );
  });

  it('is refused with a key that only has the same id', () => {
    const [right, wrong] = keysOf(KEY, OTHER);
    if (!right || !wrong) throw new Error('no keys');
    expect(() => openCapture('c', sealed, [{ ...wrong, id: right.id }])).toThrow('is damaged');
  });
});

it.each([
  ['no key', '\n# nothing\n', 'holds no key'],
  ['a key that is too short', 'ab', 'has no key of 64 hexadecimal characters in line 1'],
  ['a word', `${KEY}\nsecret`, 'has no key of 64 hexadecimal characters in line 2'],
  ['nine keys', Array(9).fill(KEY).join('\n'), 'holds 9 keys, at most 8 are allowed'],
])('a file with %s is refused, and no part of it repeated', (_, text, problem) => {
  const read = () => captureKeysIn(FILE, Buffer.from(text));
  expect(read).toThrow(`CKV_CAPTURE_KEY_FILE: /keys ${problem}; make a key with "openssl rand -hex 32"`);
  expect(read).not.toThrow(/secret|1f1f/);
});

it('the tag of a user depends on the key, and on nothing else', () => {
  const [one, other] = keysOf(KEY, OTHER);
  expect(userTag(one, 'u')).toMatch(/^[0-9a-f]{16}$/);
  expect(userTag(keysOf(KEY)[0], 'u')).toBe(userTag(one, 'u'));
  expect(new Set([userTag(one, 'u'), userTag(other, 'u'), userTag(undefined, 'u'), userTag(one, 'v')]).size).toBe(4);
});
