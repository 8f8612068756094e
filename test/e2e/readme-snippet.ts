import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Returns a program of the README with the addresses of a stack. */
export function readmeSnippet(name: string, targets: { readonly ranking: string; readonly updater: string }): string {
  const readme = readFileSync(fileURLToPath(new URL('../../README.md', import.meta.url)), 'utf8');
  const code = readme.split(`<!-- snippet: ${name} -->`)[1]?.match(/```\w+\n([\s\S]*?)```/)?.[1];
  if (!code?.includes('127.0.0.1:50053')) throw new Error(`the README has no snippet ${name} with the usual addresses`);
  return code.replaceAll('127.0.0.1:50053', targets.ranking).replaceAll('127.0.0.1:50054', targets.updater);
}
