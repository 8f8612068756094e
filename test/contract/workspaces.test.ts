import { expect, it } from 'vitest';
import { readReferences, readWorkspaces } from './workspaces.js';

const workspaces = readWorkspaces();

it('lists every workspace in the root tsconfig.json', () => {
  expect(readReferences('').sort()).toEqual(workspaces.map(({ folder }) => folder));
});

it.each(workspaces)('$folder references exactly the workspaces that it depends on', (workspace) => {
  const declared = [...workspace.dependencies, ...workspace.devDependencies];
  const ours = workspaces.filter(({ name }) => declared.includes(name)).map(({ folder }) => folder);
  expect([...workspace.references].sort()).toEqual(ours);
});
