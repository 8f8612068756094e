// The pages of the site: their groups, their titles, the sidebar and the index llms.txt. Pages stay where they are in the
// repository; a new page of docs/ needs a line here. The decisions and the runbook are taken from their folders.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sentencesOf } from '../scripts/sentences.mjs';

/** The folder of the repository. Pages are named by their path in it. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Groups in the order of the sidebar. Within a group, pages keep the order of the README's table of pages. */
export const GROUPS = [
  { name: 'Quickstart', pages: ['README.md', 'training/README.md'] },
  { name: 'Concepts', pages: ['docs/architecture.md', 'docs/glossary.md'] },
  {
    name: 'Integration',
    pages: ['docs/sdk.md', 'clients/python/README.md', 'docs/clients-other-languages.md'],
  },
  {
    name: 'Operations',
    pages: [
      'docs/console.md',
      'docs/operations.md',
      'docs/gpu.md',
      'docs/configuration.md',
      'docs/model-updates.md',
      'docs/backfill.md',
      'docs/observability.md',
      'docs/security.md',
      'docs/privacy.md',
      'docs/checking-scores.md',
      'docs/pool-health.md',
      'docs/planning.md',
      'docs/reliability.md',
    ],
  },
  { name: 'Runbook', pages: pagesOf('docs/runbook') },
  {
    name: 'Reference',
    pages: [
      'docs/errors.md',
      'docs/wire-format.md',
      'docs/interaction-log.md',
      'docs/quality.md',
      'docs/quality-pools.md',
      'docs/benchmarks.md',
      'CONTRIBUTING.md',
      'docs/testing.md',
      'CHANGELOG.md',
    ],
  },
  { name: 'Decisions', pages: pagesOf('docs/adr') },
];

/** Texts of the sidebar where the page's own title is too long or says too little there. */
const SHORT = {
  'README.md': 'Start here',
  'training/README.md': 'Your model',
  'docs/sdk.md': 'TypeScript: the SDK',
  'clients/python/README.md': 'Python',
};

/** Every page of the site, in the order of the sidebar. */
export const sitePages = GROUPS.flatMap(({ pages }) => pages);

/** Pages of a folder, its README first. */
function pagesOf(folder) {
  const names = readdirSync(join(root, folder)).filter((name) => name.endsWith('.md') && name !== 'README.md');
  return ['README.md', ...names.sort()].map((name) => `${folder}/${name}`);
}

/** The place of a page in the built site: a README is its folder's index. */
export function sitePath(page) {
  return page.replace(/(^|\/)README\.md$/, '$1index.md');
}

/** The first heading of a page. */
export function titleOf(page) {
  const title = readFileSync(join(root, page), 'utf8').match(/^# (.*)$/m)?.[1];
  if (title === undefined) throw new Error(`${page} has no heading of the first level`);
  return title.replaceAll('`', '');
}

/** The sidebar as VitePress takes it. The long groups are folded. */
export function sidebar() {
  return GROUPS.map(({ name, pages }) => ({
    text: name,
    collapsed: pages.length > 15,
    items: pages.map((page) => ({ text: SHORT[page] ?? titleOf(page), link: `/${sitePath(page)}` })),
  }));
}

/** The index of all pages for language models: for each its Markdown, relative to the index, and what it answers. */
export function llmsText() {
  const questions = readmeQuestions();
  const groups = GROUPS.map(({ name, pages }) => {
    const lines = pages.map((page) => `- [${titleOf(page)}](${page}): ${questions.get(page) ?? firstSentence(page)}`);
    return `## ${name}\n\n${lines.join('\n')}\n`;
  });
  return `# CollectiveKV\n\n> ${firstSentence('README.md')}\n\n${groups.join('\n')}`;
}

/** What each page of the README's table answers. */
function readmeQuestions() {
  const rows = readFileSync(join(root, 'README.md'), 'utf8').matchAll(/^\| (.*\]\(.*\.md\).*) \| (.*\?) \|$/gm);
  return new Map([...rows].flatMap(([, links, question]) => linked(links).map((page) => [page, question])));
}

function linked(text) {
  return [...text.matchAll(/\]\(([^)#]+)\)/g)].map(([, page]) => page);
}

/** The first sentence of a page that is more than a word such as "Context." */
function firstSentence(page) {
  const prose = readFileSync(join(root, page), 'utf8').replace(/!\[[^\]]*\]\([^)]*\)/g, '');
  const sentence = sentencesOf(prose).find((found) => found.length > 20) ?? titleOf(page);
  return sentence.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replaceAll('**', '');
}
