// The site: all pages of site/pages.mjs, which stay where they are, at the paths that they have in the repository.
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { defineConfig } from 'vitepress';
import { llmsText, root, sidebar, sitePages, sitePath } from '../pages.mjs';
import { rewriteLinks } from '../repository-links.mjs';

const repositoryUrl = process.env.CKV_REPOSITORY_URL?.replace(/\/$/, '') || undefined;
/** Folders at the top of the repository that have no page, and Markdown beside the pages in the others. */
const withPages = new Set(sitePages.map((page) => (page.includes('/') ? page.split('/')[0] : '')));
const withoutPages = readdirSync(root, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !withPages.has(entry.name))
  .map(({ name }) => `${name}/**`);
const othersBesidePages = [...withPages].filter((folder) => folder !== '').flatMap((folder) => strangersIn(folder));

function strangersIn(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory())
      return sitePages.some((page) => page.startsWith(`${path}/`)) ? strangersIn(path) : `${path}/**`;
    return entry.name.endsWith('.md') && !sitePages.includes(path) ? path : [];
  });
}

const ignored = [...withoutPages, ...othersBesidePages].map((path) => join(root, path));

/** Pages are outside the folder that has Vue. In the step that runs on Node, it is found from the built files instead. */
const vueOfSite = {
  name: 'vue-of-site',
  enforce: 'pre',
  resolveId: (id, _importer, { ssr }) => (ssr && /^vue(\/|$)/.test(id) ? { id, external: true } : undefined),
};

export default defineConfig({
  title: 'CollectiveKV',
  description: 'Rank candidates by attention over a user’s whole history, from a compressed cache.',
  lang: 'en-GB',
  base: process.env.CKV_SITE_BASE || '/',
  srcDir: root,
  srcExclude: [...withoutPages, ...othersBesidePages],
  outDir: join(root, 'site/dist'),
  cacheDir: join(root, 'site/node_modules/.cache/vitepress'),
  rewrites: Object.fromEntries(sitePages.map((page) => [page, sitePath(page)]).filter(([from, to]) => from !== to)),
  markdown: {
    anchor: { slugify: anchorOf },
    config: (md) => rewriteLinks(md, repositoryUrl),
  },
  themeConfig: {
    sidebar: sidebar(),
    outline: [2, 3],
    search: { provider: 'local' },
  },
  vite: {
    plugins: [vueOfSite],
    server: { host: '127.0.0.1', watch: { ignored } },
    build: { chunkSizeWarningLimit: 2_000 },
  },
  buildEnd({ outDir }) {
    writeFileSync(join(outDir, 'llms.txt'), llmsText());
    for (const page of sitePages) {
      mkdirSync(join(outDir, dirname(page)), { recursive: true });
      copyFileSync(join(root, page), join(outDir, page));
    }
  },
});

/** The anchor of a heading, as code hosts make it and as the pages link to it. */
function anchorOf(heading) {
  return heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/ /g, '-');
}
