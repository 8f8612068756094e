import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { root } from './workspaces.js';

// training/test_licences.py judges the same expressions.
const cases = JSON.parse(readFileSync(join(root, 'test', 'fixtures', 'licence-expressions.json'), 'utf8'));
const script = await import(pathToFileURL(join(root, 'scripts', 'licence-expression.mjs')).href);
const isAllowed = (expression: string): boolean => script.isAllowedExpression(expression, cases.allowedLicences);

it.each<string>(cases.allowed)('allows %s', (expression) => {
  expect(isAllowed(expression)).toBe(true);
});

it.each<string>(cases.refused)('refuses %j', (expression) => {
  expect(isAllowed(expression)).toBe(false);
});
