import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the root package.json. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** One package, service or test project of this repository. */
export interface Workspace {
  /** Folder, relative to the root, such as `packages/domain`. */
  readonly folder: string;
  /** The package.json's name without its scope, such as `domain`. */
  readonly name: string;
  /** Dependencies of the package itself, ours without the scope, such as `domain` and `ioredis`. */
  readonly dependencies: readonly string[];
  /** Dependencies of its tests alone. */
  readonly devDependencies: readonly string[];
  /** Folders of the projects that its tsconfig.json references, relative to the root. */
  readonly references: readonly string[];
}

/** Reads every workspace, ordered by folder. */
export function readWorkspaces(): Workspace[] {
  return ['packages', 'services', 'test']
    .flatMap((role) => readdirSync(join(root, role)).map((name) => `${role}/${name}`))
    .filter((folder) => existsSync(join(root, folder, 'package.json')))
    .sort()
    .map((folder) => {
      const { name, dependencies = {}, devDependencies = {} } = readJson(`${folder}/package.json`);
      return {
        folder,
        name: bare(name),
        dependencies: Object.keys(dependencies).map(bare),
        devDependencies: Object.keys(devDependencies).map(bare),
        references: readReferences(folder),
      };
    });
}

/** Folders that a folder's tsconfig.json references, relative to the root. */
export function readReferences(folder: string): string[] {
  const { references = [] } = readJson(join(folder, 'tsconfig.json'));
  return references.map(({ path }: { path: string }) => join(folder, path));
}

function readJson(path: string) {
  return JSON.parse(readFileSync(join(root, path), 'utf8'));
}

function bare(name: string): string {
  return name.replace(/^@collectivekv\//, '');
}
