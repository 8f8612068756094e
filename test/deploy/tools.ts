import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** The root of the repository. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Runs a program. Resolves with its output; rejects with what it wrote to stderr if its exit code is not 0. */
export const runProgram = promisify(execFile);

/** The Python that has test/deploy/requirements.txt: CKV_PYTHON, or the repository's .venv. */
const PYTHON = process.env.CKV_PYTHON ?? join(ROOT, '.venv/bin/python');

/** Returns the path of a tool of requirements.txt: beside the Python, or on the PATH. Undefined if it is missing. */
export function toolOf(name: string): string | undefined {
  const beside = join(dirname(PYTHON), name);
  if (existsSync(beside)) return beside;
  return spawnSync(name, ['--version']).error === undefined ? name : undefined;
}

/** Returns a Python that can import a module; undefined if it cannot. */
export function pythonThatHas(module: string): string | undefined {
  return spawnSync(PYTHON, ['-c', `import ${module}`]).status === 0 ? PYTHON : undefined;
}
