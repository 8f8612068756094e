// A sabotage that changes nothing would prove nothing.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { KNOWN_SCHEDULES } from './known-schedules.js';
import { SABOTAGES, without } from './sabotages.js';

const textOf = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const docs = textOf('docs/testing.md');

describe.each(SABOTAGES)('the model without $name', (sabotage) => {
  const { name, file, noticed } = sabotage;

  it('changes one place of the file', () => {
    expect(without(sabotage, textOf(file))).not.toBe(textOf(file));
  });

  it('has a schedule that notices it, and a row in docs/testing.md', () => {
    expect(KNOWN_SCHEDULES.map(({ title }) => title)).toContain(noticed);
    expect(docs).toContain(`| ${name} | \`${file}\` | ${noticed.replace(/^if /, '')} |`);
  });
});

it.each(['', 'a a'])('refuses a text that does not have the protection once: "%s"', (text) => {
  const sabotage = { name: 'a', file: 'x', noticed: '', from: 'a', to: 'b' };
  expect(() => without(sabotage, text)).toThrow('x does not have this text once: a');
});

it('names each protection once', () => {
  expect(new Set(SABOTAGES.map(({ name }) => name)).size).toBe(SABOTAGES.length);
});
