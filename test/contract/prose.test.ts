// scripts/check-prose.mjs finds what it looks for: each kind of problem is planted here once.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const LONG_SENTENCE = `One ${'word '.repeat(30).trim()}.`;

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-prose-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function check(name: string, text: string, ...options: string[]): { status: number | null; report: string } {
  const file = join(dir, name);
  writeFileSync(file, text);
  const run = spawnSync(process.execPath, ['scripts/check-prose.mjs', ...options, file], {
    cwd: root,
    encoding: 'utf8',
  });
  return { status: run.status, report: run.stdout };
}

describe('the prose check', () => {
  it.each([
    [
      'a sentence of more than 30 words',
      `Short. ${LONG_SENTENCE.replace(/(word ){9}word/g, '$&\n')} Short.`,
      /31 words: One/,
    ],
    ['a long sentence in a list item', `- ${LONG_SENTENCE.replace(/(word ){9}word/g, '$&\n  ')}`, /31 words/],
    ['a line of more than 120 characters', `${'Words. '.repeat(18).trim()}`, /125 characters/],
    [
      'a link to a page that does not exist',
      'See [the page](nowhere.md).',
      /link to nowhere\.md, which does not exist/,
    ],
    ['a link to a heading that does not exist', '# One\n[two](#two)', /link to #two: the page has no such heading/],
    ['a path that does not exist', 'See `packages/nowhere/src`.', /path packages\/nowhere\/src does not exist/],
    [
      'a missing file in a command',
      '    node scripts/nowhere.mjs --all\n',
      /path scripts\/nowhere\.mjs does not exist/,
    ],
  ])('reports %s', (_, page, problem) => {
    const { status, report } = check('page.md', page);
    expect(report).toMatch(problem);
    expect(report.trim().split('\n')).toHaveLength(1);
    expect(status).toBe(1);
  });

  it.each([
    [
      '30 words, where a code span and the target of a link count as one each',
      `${'word '.repeat(20)}\n${'word '.repeat(7)}[x](#a-b-c) \`a b c d\`.\n# A b c`,
    ],
    [
      'a table row, a heading and code of any length',
      `# ${'a '.repeat(40)}\n\n| ${LONG_SENTENCE} |\n\n    ${'code '.repeat(23)}`,
    ],
    ['list items as sentences of their own', 'word '.repeat(20) + '\n- word'.repeat(12)],
    ['a line that cannot break', `- https://example.org/${'a'.repeat(120)}`],
    ['existing paths and headings', '# The Map!\n[map](#the-map), `services/pool`, `services/pool/dist/main.js`.'],
  ])('accepts %s', (_, page) => {
    expect(check('page.md', page)).toEqual({ status: 0, report: '' });
  });

  it.each([
    ['code.ts', `/**\n * ${LONG_SENTENCE}\n */\nexport const one = 1; // ${LONG_SENTENCE}`],
    ['code.ts', `// Short.\n// ${LONG_SENTENCE}`],
    ['code.py', `def one():\n    """Short.\n\n    ${LONG_SENTENCE}\n    """`],
    ['code.py', `# ${LONG_SENTENCE}`],
    ['code.lua', `--[[\n${LONG_SENTENCE}\n]]`],
    ['code.proto', `// ${LONG_SENTENCE}`],
  ])('reports a long sentence in a comment of %s, only with --code', (name, source) => {
    expect(check(name, source, '--code').report).toMatch(/^\S+: 31 words: .*\n$/);
    expect(check(name, source).status).toBe(0);
  });

  it('reports a comment that names a page that does not exist', () => {
    expect(check('code.ts', '// docs/nowhere.md has the reason.', '--code').report).toContain(
      'docs/nowhere.md does not',
    );
  });
});
