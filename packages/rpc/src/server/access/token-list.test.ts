import { describe, expect, it } from 'vitest';
import { findToken, parseTokenList, tokenOfAllRoles } from './token-list.js';

const FIRST = 'first-token-0123456789';
const SECOND = 'second-token-0123456789';

describe('parseTokenList', () => {
  it('reads roles, a token and a label from each line, and skips comments', () => {
    const tokens = parseTokenList(`# tokens\n\nrank ${FIRST} feed-2026-11\r\n  read,append\t${SECOND}\n`, 'FILE');
    expect(tokens).toMatchObject([
      { roles: ['rank'], label: 'feed-2026-11' },
      { roles: ['read', 'append'], label: '' },
    ]);
    expect(findToken(tokens, FIRST)?.label).toBe('feed-2026-11');
    expect(findToken(tokens, SECOND)?.roles).toEqual(['read', 'append']);
    expect(findToken(tokens, `${FIRST}x`)).toBeUndefined();
    expect(findToken(tokens, '')).toBeUndefined();
  });

  it('keeps no token', () => {
    expect(JSON.stringify(parseTokenList(`rank ${FIRST} label`, 'FILE'))).not.toContain(FIRST);
  });

  it.each([
    ['no line', '# nothing\n', 'FILE: has no token; add a line: ROLE[,ROLE] TOKEN [LABEL]'],
    ['one word', FIRST, 'FILE: line 1 has 1 word, 2 or 3 are required; write ROLE[,ROLE] TOKEN [LABEL]'],
    ['four words', `rank ${FIRST} a b`, 'FILE: line 1 has 4 words'],
    ['a token before the roles', `\n${FIRST} rank`, 'FILE: line 2 begins with a word that is not a list of roles'],
    ['an unknown role', `rank,root ${FIRST}`, 'name roles of rank, write, erase, read, append, admin'],
    ['a short token', 'rank short', 'FILE: line 1 has a token of 5 characters, 16 are required'],
    ['a token that no header can carry', 'rank tøken-0123456789abc', 'FILE: line 1 has a token that is not printable'],
    ['a bad label', `rank ${FIRST} a/b`, 'FILE: line 1 has a bad label'],
    ['a token twice', `rank ${FIRST}\nwrite ${FIRST}`, 'FILE: line 2 repeats the token of line 1'],
    ['a role of every object', `constructor ${FIRST}`, 'is not a list of roles'],
  ])('refuses %s, names the line and repeats no word of it', (_, text, message) => {
    const failure = (() => {
      try {
        return parseTokenList(text, 'FILE');
      } catch (error) {
        return error as Error;
      }
    })();
    expect(failure).toMatchObject({ reason: 'invalid_request', message: expect.stringContaining(message) });
    expect((failure as Error).message).not.toContain(FIRST);
  });
});

it('a token of all roles has every role', () => {
  expect(tokenOfAllRoles(FIRST).roles).toEqual(['rank', 'write', 'erase', 'read', 'append', 'admin']);
});
