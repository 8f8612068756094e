// The site has every page of docs/, in the order of the README, and the index for language models names them all.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from './workspaces.js';

interface Pages {
  readonly GROUPS: readonly { readonly name: string; readonly pages: readonly string[] }[];
  readonly sitePages: readonly string[];
  sidebar(): { readonly items: readonly { readonly text: string; readonly link: string }[] }[];
  llmsText(): string;
}
const { GROUPS, sitePages, sidebar, llmsText } = (await import(join(root, 'site/pages.mjs'))) as Pages;

const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.md'))
  .map((name) => `docs/${name}`);

describe('the site', () => {
  it('has every page of docs/ once; a new page needs a line in site/pages.mjs', () => {
    expect(docs.filter((page) => !sitePages.includes(page))).toEqual([]);
    expect(sitePages.filter((page, at) => sitePages.indexOf(page) !== at)).toEqual([]);
  });

  it('links every page in the sidebar', () => {
    const links = sidebar().flatMap(({ items }) => items.map(({ link }) => link));
    expect(links).toEqual(sitePages.map((page) => `/${page.replace(/(^|\/)README\.md$/, '$1index.md')}`));
  });

  it("keeps the order of the README's table of pages within a group", () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8').split('| page | answers |')[1]?.split('\n\n')[0] ?? '';
    const listed = [...readme.matchAll(/\]\(([^)#]+\.md)\)/g)].map(([, page]) => page as string);
    expect(listed.length).toBeGreaterThan(20);
    expect(listed.filter((page) => !sitePages.includes(page))).toEqual([]);
    for (const { name, pages } of GROUPS) {
      const inGroup = listed.filter((page) => pages.includes(page));
      expect({ name, pages: pages.filter((page) => listed.includes(page)) }).toEqual({ name, pages: inGroup });
    }
  });

  it('has an index for language models that names every page and says what it holds', () => {
    const lines = llmsText().split('\n');
    for (const page of sitePages) {
      expect(lines.filter((line) => line.includes(`](${page}): `) && /: .+[.?:]$/.test(line))).toHaveLength(1);
    }
  });
});
