import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { encodingIdOf } from './encoding-id.js';
import type { Manifest } from './manifest-schema.js';

type Json = string | number | Json[] | { [key: string]: Json };

interface Case {
  readonly name: string;
  readonly sameAsBase: boolean;
  readonly changes: readonly { readonly at: readonly (string | number)[]; readonly to: Json }[];
  readonly encodingId: string;
}

const file = new URL('../../../../test/fixtures/encoding-ids.json', import.meta.url);
const { base, cases } = JSON.parse(readFileSync(file, 'utf8')) as { base: Json; cases: Case[] };
const idOfBase = encodingIdOf(base as unknown as Manifest);

/** Returns the base with a case's changes. */
function changed({ changes }: Case): Manifest {
  const manifest = structuredClone(base);
  for (const { at, to } of changes) {
    let parent = manifest as Record<string | number, Json>;
    for (const key of at.slice(0, -1)) parent = parent[key] as Record<string | number, Json>;
    parent[at.at(-1) ?? ''] = structuredClone(to);
  }
  return manifest as unknown as Manifest;
}

describe('encodingIdOf', () => {
  it.each(cases.map((one) => [one.name, one] as const))('agrees with training: %s', (_, one) => {
    expect(encodingIdOf(changed(one))).toBe(one.encodingId);
  });

  it.each(cases.map((one) => [one.sameAsBase ? 'keeps' : 'changes', one.name, one] as const))(
    '%s the id: %s',
    (_, __, one) => {
      expect(encodingIdOf(changed(one)) === idOfBase).toBe(one.sameAsBase);
    },
  );
});
