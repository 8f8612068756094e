// docs/sdk.md names every option and every field of a rank request that the SDK's types have.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from './workspaces.js';

const page = readFileSync(join(root, 'docs/sdk.md'), 'utf8');

/** Returns the names of an interface's fields, as its source lists them. */
function fieldsOf(name: string, path: string): string[] {
  const source = readFileSync(join(root, path), 'utf8');
  const body = source.split(`export interface ${name} `)[1]?.split('\n}\n')[0] ?? '';
  return [...body.matchAll(/^ {2}readonly (\w+)\??:/gm)].map(([, field]) => field as string);
}

describe('the page of the SDK', () => {
  it.each([
    ['ClientOptions', 'packages/client/src/client-options.ts'],
    ['CallOptions', 'packages/client/src/client-options.ts'],
    ['RecordOptions', 'packages/client/src/client-options.ts'],
    ['RankInput', 'packages/client/src/rank-messages.ts'],
    ['InteractionInput', 'packages/client/src/rank-messages.ts'],
  ])('names every field of %s', (name, path) => {
    const fields = fieldsOf(name, path);
    expect(fields.length).toBeGreaterThan(0);
    expect(fields.filter((field) => !new RegExp(`\\b${field}\\b`).test(page))).toEqual([]);
  });
});
