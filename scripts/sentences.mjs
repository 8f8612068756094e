// Sentences of Markdown pages and of code comments, for check-prose.mjs.

/** Comments of a language; the first group of each pattern is the text. */
const COMMENTS = {
  ts: [/\/\*\*?([\s\S]*?)\*\//g, /((?:^[ \t]*\/\/.*\n?)+)/gm],
  py: [/"""([\s\S]*?)"""/g, /((?:^[ \t]*#.*\n?)+)/gm],
  lua: [/--\[\[([\s\S]*?)\]\]/g, /((?:^[ \t]*--(?!\[).*\n?)+)/gm],
  proto: [/((?:^[ \t]*\/\/.*\n?)+)/gm],
};
COMMENTS.mjs = COMMENTS.ts;

/** Extensions of the files whose comments {@link commentsOf} finds. */
export const CODE_EXTENSIONS = Object.keys(COMMENTS);

/** Texts of all comments in a source file, without their markers. A run of one-line comments is one text. */
export function commentsOf(source, extension) {
  const found = COMMENTS[extension].flatMap((pattern) => [...source.matchAll(pattern)].map((match) => match[1]));
  return found.map((comment) => dedent(comment.replace(/^[ \t]*(\/\/|#|--|\*)[ \t]?/gm, '')));
}

/** A text without the indentation that all its lines but the first share. */
function dedent(text) {
  const indents = [...text.matchAll(/\n([ \t]*)(?=\S)/g)].map(([, indent]) => indent.length);
  return indents.length === 0 ? text : text.replace(new RegExp(`^[ \\t]{${Math.min(...indents)}}`, 'gm'), '');
}

/** Sentences of a text, outside tables, code, headings and HTML. A list item or an empty line ends a sentence. */
export function sentencesOf(text) {
  const prose = text.replace(/```[\s\S]*?```|<!--[\s\S]*?-->/g, '');
  const paragraphs = [''];
  let wasEmpty = true;
  for (const line of prose.split('\n')) {
    const isCode = wasEmpty && /^ {4}|^\t/.test(line);
    wasEmpty = line.trim() === '' || isCode;
    if (wasEmpty || /^\s*[|#!<@]|\S {2,}\S/.test(line)) paragraphs.push('');
    if (/^\s*([-*]|\d+\.|@\w+)\s/.test(line)) paragraphs.push('');
    if (!wasEmpty && !/^\s*[|#!<]|\S {2,}\S/.test(line)) paragraphs.push(`${paragraphs.pop()} ${line.trim()}`);
  }
  return paragraphs.flatMap((paragraph) => paragraph.trim().split(/(?<=[.!?])\s+(?=[A-Z`*_[])/));
}

/** Words of a sentence. A code span or the target of a link counts as one. */
export function wordCount(sentence) {
  const plain = sentence.replace(/`[^`]*`|\]\([^)]*\)/g, ' x ');
  return [...plain.matchAll(/[A-Za-z][A-Za-z'’-]*/g)].length;
}
