// Shared by the scripts: the folder of the workspace, its installation, and running a command.
import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the root package.json. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);

/** Returns the path of an installed command. */
export function bin(name) {
  return join(root, 'node_modules', '.bin', name);
}

/**
 * Runs a command, which ends with this process. Rejects if its exit code is not 0. Prints its output if it fails, or
 * always if `show` is set.
 */
export function run(name, command, args, { show = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['scripts/guard.mjs', command, ...args], {
      cwd: root,
      stdio: ['pipe', show ? 'inherit' : 'pipe', show ? 'inherit' : 'pipe'],
    });
    const output = [];
    child.stdout?.on('data', (chunk) => output.push(chunk));
    child.stderr?.on('data', (chunk) => output.push(chunk));
    child.on('error', reject);
    child.on('exit', (code) => {
      if (code === 0) return resolve();
      process.stderr.write(Buffer.concat(output));
      reject(new Error(`${name} failed (exit code ${code})`));
    });
  });
}

/**
 * Installs the locked dependencies if they are missing or older than the lock file. Development dependencies are always
 * included, since the build needs them. Ends the process with one line if this cannot work.
 */
export async function ensureInstalled() {
  const [major] = process.versions.node.split('.').map(Number);
  if (major < 20) {
    fail(`CollectiveKV needs Node 20 or newer; this is ${process.version}. Install it from https://nodejs.org.`);
  }
  requireWritable();
  const marker = join(root, 'node_modules', '.package-lock.json');
  const lock = join(root, 'package-lock.json');
  const current = existsSync(marker) && statSync(marker).mtimeMs >= statSync(lock).mtimeMs;
  if (current && existsSync(bin('turbo'))) return; // without development dependencies there is no turbo
  console.log('installing dependencies (npm ci)');
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  await runOrExit('npm ci', npm, ['ci', '--include=dev']); // also if NODE_ENV is production
}

/** Runs a command that the rest needs. If it fails, prints its output and one line, and ends the process. */
export async function runOrExit(name, command, args) {
  await run(name, command, args).catch((error) => fail(error.message));
}

/** Ends the process with one line if the installation or the build could not write to the checkout. */
function requireWritable() {
  const inWorkspaces = ['packages', 'services', 'test']
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) => readdirSync(join(root, folder)).map((name) => join(folder, name)))
    .flatMap((folder) => [folder, join(folder, 'dist')]);
  for (const folder of ['.', 'node_modules', '.ckv', '.turbo', ...inWorkspaces]) {
    const path = join(root, folder);
    if (!existsSync(path)) continue;
    try {
      accessSync(path, constants.W_OK);
    } catch ({ code }) {
      const own = code === 'EROFS' ? '' : `; or make it yours: sudo chown -R "$(id -un)" ${root}`;
      fail(`${path} cannot be written (${code}). The build writes to it: copy the checkout to a folder of yours${own}`);
    }
  }
}

function fail(line) {
  console.error(line);
  process.exit(1);
}
