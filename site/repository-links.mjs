// Links of the pages, which are written for a code host, become links of the site. Those to other files go to the
// repository if CKV_REPOSITORY_URL names it, for example https://HOST/OWNER/NAME/blob/main.
import { posix } from 'node:path';
import { sitePages, sitePath } from './pages.mjs';

/** A rule of markdown-it that changes the links of a page, and gives indented code the looks of fenced code. */
export function rewriteLinks(md, repositoryUrl) {
  md.core.ruler.push('repository-links', ({ tokens, env, Token }) => {
    const page = sourceOf(env.relativePath ?? '');
    for (const token of tokens) {
      if (token.type === 'code_block') Object.assign(token, { type: 'fence', tag: 'code', info: 'txt', markup: '```' });
      if (token.children) token.children = rewritten(token.children, page, repositoryUrl, Token);
    }
  });
}

/** The page of the repository that is at a place of the site. */
function sourceOf(path) {
  return sitePages.find((page) => sitePath(page) === path) ?? path;
}

function rewritten(tokens, page, repositoryUrl, Token) {
  const kept = [];
  let bare; // the path of a link that has no target
  for (const token of tokens) {
    if (token.type === 'link_open') {
      const href = token.attrGet('href') ?? '';
      const target = targetOf(href, page, repositoryUrl);
      if (target.path !== undefined) {
        bare = target.path;
        continue;
      }
      token.attrSet('href', target.href);
    }
    if (token.type === 'link_close' && bare !== undefined) {
      if (!kept.at(-1)?.content.includes(bare)) kept.push(...shown(bare, Token));
      bare = undefined;
      continue;
    }
    kept.push(token);
  }
  return kept;
}

/** Where a link goes: `href`, or the `path` of a file that nobody can look up. */
function targetOf(href, page, repositoryUrl) {
  if (/^([a-z]+:|#|\/)/.test(href)) return { href };
  const [path, anchor] = href.split('#');
  const file = posix.join(posix.dirname(page), path).replace(/\/$/, '');
  const hash = anchor === undefined ? '' : `#${anchor}`;
  const linked = [file, `${file}/README.md`].find((candidate) => sitePages.includes(candidate));
  if (linked !== undefined) return { href: `/${sitePath(linked)}${hash}` };
  // A missing page of docs/ stays a link, so that VitePress refuses it.
  if (/^docs\/.*\.md$/.test(file)) return { href: `/${file}${hash}` };
  return repositoryUrl === undefined ? { path: file } : { href: `${repositoryUrl}/${file}${hash}` };
}

/** The path behind the words of a link: ` (path)`. */
function shown(path, Token) {
  const open = Object.assign(new Token('text', '', 0), { content: ' (' });
  const code = Object.assign(new Token('code_inline', 'code', 0), { content: path, markup: '`' });
  const close = Object.assign(new Token('text', '', 0), { content: ')' });
  return [open, code, close];
}
