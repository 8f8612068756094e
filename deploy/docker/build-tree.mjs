// Makes the folder that runs one service: its built code and the packages that it needs in production.
//
//    node deploy/docker/build-tree.mjs SERVICE FOLDER
//
// SERVICE is pool, user-cache, ranking, updater, console, cli or bench. Run it in a checkout after `npm ci` and
// `npm run build`; FOLDER must not exist. The Dockerfile makes its images with this script, and test/deploy starts
// services from such folders.
// CKV_NPM_ARCH and CKV_NPM_PLATFORM name another machine's processor and system than this one's, as Node does.
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, readdirSync, realpathSync, symlinkSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const HEALTHCHECK = 'healthcheck.mjs';
const { CKV_NPM_ARCH: arch = process.arch, CKV_NPM_PLATFORM: platform = process.platform } = process.env;
/** What a workspace needs while it runs, beside its package.json. */
const RUNTIME_FOLDERS = ['bin', 'dist', 'lua'];
/** What is not run: types, maps, tests, notes of the compiler. */
const NOT_RUN = /(\.d\.ts|\.map|\.tsbuildinfo|\.(test|fixture|contract)\.js)$/;

const [service, folder] = process.argv.slice(2);
if (!service || !folder) fail('usage: node deploy/docker/build-tree.mjs SERVICE FOLDER');
if (existsSync(folder)) fail(`${folder} exists; name a new folder`);
const workspace = { cli: 'packages/cli', bench: 'test/bench' }[service] ?? `services/${service}`;
if (!existsSync(join(ROOT, workspace, 'package.json'))) fail(`there is no ${workspace}; name a service, cli or bench`);
if (!existsSync(join(ROOT, workspace, 'dist'))) fail(`${workspace} is not built; run npm ci and npm run build`);

const listing = ['ls', '--workspace', workspace, '--omit=dev', '--all', '--parseable'];
const listed = execFileSync('npm', listing, { cwd: ROOT, encoding: 'utf8' }).split('\n').filter(Boolean);
const installed = [...new Set(listed)].filter((path) => path.includes('/node_modules/'));
for (const path of installed) {
  if (lstatSync(path).isSymbolicLink()) copyWorkspace(path);
  else copyPackage(path);
}
cpSync(join(ROOT, 'package.json'), join(folder, 'package.json'));
cpSync(join(ROOT, 'LICENSE'), join(folder, 'LICENSE'));
cpSync(join(ROOT, 'deploy/docker', HEALTHCHECK), join(folder, HEALTHCHECK));
makeReadable(folder);
console.log(`${folder}: ${service} with ${installed.length} packages`);

/** Copies a workspace's runtime files, and links to it as npm does. */
function copyWorkspace(link) {
  const source = realpathSync(link);
  const target = join(folder, relative(realpathSync(ROOT), source));
  mkdirSync(target, { recursive: true });
  cpSync(join(source, 'package.json'), join(target, 'package.json'));
  for (const name of RUNTIME_FOLDERS) {
    const from = join(source, name);
    if (existsSync(from)) cpSync(from, join(target, name), { recursive: true, filter: (path) => !NOT_RUN.test(path) });
  }
  const linked = join(folder, relative(ROOT, link));
  mkdirSync(dirname(linked), { recursive: true });
  symlinkSync(relative(dirname(linked), target), linked);
}

/** Copies an outside package without the packages inside it, which are listed themselves. */
function copyPackage(source) {
  const target = join(folder, relative(ROOT, source));
  cpSync(source, target, { recursive: true, filter: (path) => path === source || isRun(source, path) });
}

function isRun(source, path) {
  if (basename(path) === 'node_modules' || NOT_RUN.test(path)) return false;
  const [, ofPlatform, ofArch] = /^bin\/napi-v\d+\/([^/]+)(?:\/([^/]+))?/.exec(relative(source, path)) ?? [];
  return (ofPlatform ?? platform) === platform && (ofArch ?? arch) === arch;
}

/** Lets every user read the tree. The umask of whoever builds it has no effect. */
function makeReadable(path) {
  const stat = lstatSync(path);
  if (stat.isSymbolicLink()) return;
  chmodSync(path, stat.isDirectory() || stat.mode & 0o100 ? 0o755 : 0o644);
  if (stat.isDirectory()) for (const name of readdirSync(path)) makeReadable(join(path, name));
}

function fail(problem) {
  console.error(problem);
  process.exit(1);
}
