// Shared by the scripts: the folder of the workspace, its installation, and running a command.
import { spawn } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the root package.json. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);

/** Returns the path of an installed command. */
export function bin(name) {
  return join(root, 'node_modules', '.bin', name);
}

/** Runs a command, which ends with this process. Rejects if its exit code is not 0. Prints its output if it fails, or always if `show` is set. */
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

/** Installs the locked dependencies if they are missing or older than the lock file. */
export async function ensureInstalled() {
  const [major] = process.versions.node.split('.').map(Number);
  if (major < 20) {
    console.error(
      `CollectiveKV needs Node 20 or newer; this is ${process.version}. Install it from https://nodejs.org.`,
    );
    process.exit(1);
  }
  const marker = join(root, 'node_modules', '.package-lock.json');
  const lock = join(root, 'package-lock.json');
  if (existsSync(marker) && statSync(marker).mtimeMs >= statSync(lock).mtimeMs) return;
  console.log('installing dependencies (npm ci)');
  await run('npm ci', process.platform === 'win32' ? 'npm.cmd' : 'npm', ['ci']);
}
