import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './fixture-bundles.js';

/** Returns a Python that has the modules: CKV_PYTHON, the repository's .venv or python3. Undefined if none has them. */
export function findPython(modules: string): string | undefined {
  const venv = join(ROOT, '.venv', 'bin', 'python');
  const candidates = [process.env.CKV_PYTHON ?? '', existsSync(venv) ? venv : '', 'python3'].filter(
    (path) => path !== '',
  );
  return candidates.find((path) => spawnSync(path, ['-c', `import ${modules}`]).status === 0);
}
