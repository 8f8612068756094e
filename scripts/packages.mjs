// Shared by the checks of outside packages. package-lock.json has what the services, the SDK and the command line
// install. The lock file of site/ has what builds the pages for a browser.
import { readFileSync } from 'node:fs';
import { root } from './workspace.mjs';

/** Workspaces that somebody runs or imports in production. Those that only tests use are left out. */
const SHIPPED = /^(services\/.+|packages\/(cli|client|dev-stack))$/;

/** The policy for outside packages: allowed licences, and exceptions with their reasons. */
export const policy = JSON.parse(readFileSync(`${root}/scripts/packages.json`, 'utf8'));

/** Folders that have a lock file: the workspace, and the site of the documentation, of which nothing is shipped. */
export const LOCKED_FOLDERS = ['.', 'site'];

/** Every entry of a folder's package-lock.json by its path, without the root. */
export function lockedPackages(folder = '.') {
  const { packages } = JSON.parse(readFileSync(`${root}/${folder}/package-lock.json`, 'utf8'));
  return new Map(Object.entries(packages).filter(([path]) => path !== ''));
}

/** Returns the outside packages that production needs, sorted: path, name, version and licence. */
export function shippedPackages() {
  const locked = lockedPackages();
  const reached = new Set();
  const visit = (path) => {
    const entry = locked.get(path);
    const target = entry?.link ? entry.resolved : path;
    if (!entry || reached.has(target)) return;
    reached.add(target);
    const { dependencies, optionalDependencies, peerDependencies } = locked.get(target) ?? {};
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) {
      const found = resolved(locked, target, name);
      if (found) visit(found);
    }
  };
  for (const path of locked.keys()) if (SHIPPED.test(path)) visit(path);
  return [...reached]
    .filter((path) => path.includes('node_modules/'))
    .sort()
    .map((path) => ({ path, name: path.split('node_modules/').at(-1), ...locked.get(path) }));
}

/** Returns the path at which Node finds a package from another, as it looks into one folder after the other. */
function resolved(locked, from, name) {
  for (let folder = from; ; folder = folder.includes('/') ? folder.slice(0, folder.lastIndexOf('/')) : '') {
    const path = folder === '' ? `node_modules/${name}` : `${folder}/node_modules/${name}`;
    if (locked.has(path)) return path;
    if (folder === '') return undefined;
  }
}
