// A test waits for conditions, not for time. A clock that the test moves (`toFake: ['setTimeout']`) is allowed.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readWorkspaces, root } from './workspaces.js';

const SLEEP = /\bsetTimeout\b(?!')/;
const testFiles = readWorkspaces().flatMap(({ folder }) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(test|contract|fixture)\.ts$/.test(name) && !/(^|\/)(dist|node_modules)\//.test(name))
    .map((name) => `${folder}/${name}`),
);

it('finds the tests of every role', () => {
  expect(new Set(testFiles.map((file) => file.split('/')[0]))).toEqual(new Set(['packages', 'services', 'test']));
});

it('finds no sleep in any test file', () => {
  expect(testFiles.filter((file) => SLEEP.test(readFileSync(join(root, file), 'utf8')))).toEqual([]);
});
