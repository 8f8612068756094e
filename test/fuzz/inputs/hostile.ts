import fc from 'fast-check';

/** Numbers at the edges of the types that formats and languages use. */
const NUMBERS = [
  ...[0, -0, 1, -1, 0.5, 127, 128, 255, 256, 65_535, 65_536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32],
  ...[2 ** 48 - 1, 2 ** 48, 2 ** 53 - 1, 2 ** 53, 2 ** 63, 2 ** 64, -(2 ** 31), -(2 ** 53), -(2 ** 63)],
  ...[1e-320, 1e38, 3.5e38, 1e308, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
];

/** Texts that mean something to a parser, a path, a key, a terminal or a language. */
const TEXTS = [
  ...[
    '',
    ' ',
    '\0',
    '\n',
    '\r\n',
    '\t',
    '"',
    "'",
    '\\',
    '%',
    '%00',
    '%ff',
    '*',
    '?',
    '[',
    '{',
    '}',
    '{}',
    '[]',
    ':',
    ',',
  ],
  ...['null', 'undefined', 'NaN', 'Infinity', '-0', '0x10', '1e999', '1_000', '１', 'true', '[object Object]'],
  ...['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'length', 'then', 'toJSON'],
  ...['../../etc/passwd', '/dev/zero', 'C:\\', '.', '..', './-', '-', '--', '--help', '$(id)', '`id`', ';id', '|id'],
  ...['\ud800', '\udc00x', '\uffff', '\ufeff', '\u202e', 'é', 'e\u0301', '😀', 'ſ', 'K', 'İ'],
  ...[
    'x'.repeat(64),
    'x'.repeat(65),
    'x'.repeat(129),
    'x'.repeat(256),
    'x'.repeat(257),
    'é'.repeat(129),
    'x'.repeat(70_000),
  ],
];

/** A number that is likely to break a bound. */
export const hostileNumber = fc.oneof(fc.constantFrom(...NUMBERS), fc.double(), fc.maxSafeInteger());

/** A text that is likely to break a parser. */
export const hostileText = fc.oneof(
  fc.constantFrom(...TEXTS),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
);

/** A JSON value of a type, size or depth that no schema expects. */
export const hostileJson: fc.Arbitrary<unknown> = fc.oneof(
  hostileNumber,
  hostileText,
  fc.constantFrom(null, true, false, [], {}),
  fc.nat(500).map((depth) => nested(depth)),
  fc.tuple(fc.nat(2_000), hostileText).map(([count, text]) => Array(count).fill(text.slice(0, 20))),
  fc.dictionary(hostileText, fc.oneof(hostileNumber, hostileText), { maxKeys: 80 }),
  fc.jsonValue({ maxDepth: 4 }),
);

function nested(depth: number): unknown {
  let value: unknown = 0;
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { a: value };
  return value;
}
