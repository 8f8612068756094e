// Checks the Markdown pages: sentences of at most 30 words, lines of at most 120 characters, links and paths that
// exist.
//
//    node scripts/check-prose.mjs [--code] [PATH…]
//
// Without paths it checks the whole repository. --code adds the comments and docstrings of the source files: their
// sentences, and the pages they name.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { CODE_EXTENSIONS, commentsOf, sentencesOf, wordCount } from './sentences.mjs';
import './workspace.mjs';

const MAX_WORDS = 30;
const MAX_LINE = 120;
/** A page that a script writes from end to end: its lines break where they may. */
const WRITTEN = /^docs\/quality(-pools)?\.md$/;
const SKIPPED = /^(\..*|node_modules|dist|generated)$/;

const args = process.argv.slice(2);
const code = args.includes('--code');
const named = args.filter((arg) => arg !== '--code');
const topFolders = readdirSync('.', { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !SKIPPED.test(entry.name))
  .map(({ name }) => name);
const repositoryPath = new RegExp(`^(${topFolders.join('|')})/[\\w./-]+$`);
let problemCount = 0;

for (const file of (named.length > 0 ? named : ['.']).flatMap(filesIn)) {
  const extension = extname(file).slice(1);
  if (extension === 'md') checkPage(file, readFileSync(file, 'utf8'));
  else if (code && CODE_EXTENSIONS.includes(extension)) checkComments(file, readFileSync(file, 'utf8'));
}
if (problemCount > 0)
  console.error(`${problemCount} problem(s): shorten the sentence or the line, correct the link or path`);
process.exit(problemCount > 0 ? 1 : 0);

function checkPage(file, text) {
  checkSentences(file, text);
  checkLines(file, text);
  const prose = text.replace(/```[\s\S]*?```/g, '').replace(/^ {4}.*$/gm, '');
  for (const [, target] of prose.matchAll(/\]\(([^)\s]+)\)/g)) checkLink(file, target);
  for (const [, span] of prose.matchAll(/`([^`]+)`/g)) {
    for (const word of span.split(/[\s,;:]+/)) checkPath(file, word);
  }
  const withExtension = /(?<=\s)[\w./-]+\.(?:js|mjs|py|ts|txt)(?=\s)/g;
  for (const [path] of text.matchAll(withExtension)) checkPath(file, path);
}

function checkComments(file, source) {
  for (const comment of commentsOf(source, extname(file).slice(1))) {
    checkSentences(file, comment);
    for (const [path] of comment.matchAll(/\bdocs\/[\w/-]+\.md\b/g)) checkPath(file, path);
  }
}

function checkSentences(file, text) {
  for (const sentence of sentencesOf(text)) {
    const count = wordCount(sentence);
    if (count > MAX_WORDS) report(file, `${count} words: ${sentence.slice(0, 100)}`);
  }
}

/** Checks line lengths outside tables and written parts. A line that cannot break, such as a link, may be longer. */
function checkLines(file, text) {
  if (WRITTEN.test(file)) return;
  const handwritten = text.replace(/<!-- (\w+):begin[\s\S]*?<!-- \1:end -->/g, '');
  for (const line of handwritten.split('\n')) {
    const breaks = /\S\s+\S/.test(line.trim().replace(/^([-*]|\d+\.) /, ''));
    if (line.length > MAX_LINE && breaks && !/^[|<]/.test(line))
      report(file, `${line.length} characters: ${line.slice(0, 100)}`);
  }
}

function checkLink(file, target) {
  if (/^[a-z]+:/.test(target)) return;
  const [path, anchor] = target.split('#');
  const page = path === '' ? file : join(dirname(file), path);
  if (!existsSync(page)) report(file, `link to ${target}, which does not exist`);
  else if (anchor && !anchorsOf(page).includes(anchor)) report(file, `link to ${target}: the page has no such heading`);
}

/** Anchors of a page's headings, as GitHub makes them. */
function anchorsOf(page) {
  const headings = [...readFileSync(page, 'utf8').matchAll(/^#+ (.*)$/gm)].map((match) =>
    match[1].trim().toLowerCase(),
  );
  return headings.map((heading) => heading.replace(/[^\p{L}\p{N}\s_-]/gu, '').replace(/ /g, '-'));
}

/** Checks a word that looks like a path of this repository. A built file counts as its source. */
function checkPath(file, word) {
  const path = word.replace(/[.)]+$/, '').replace(/\/dist\/(.*)\.js$/, '/src/$1.ts');
  if (repositoryPath.test(path) && !existsSync(path)) report(file, `path ${word} does not exist`);
}

function report(file, problem) {
  problemCount++;
  console.log(`${file}: ${problem}`);
}

function filesIn(path) {
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path).filter((name) => !SKIPPED.test(name));
  return names.flatMap((name) => filesIn(join(path, name)));
}
