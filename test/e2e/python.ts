import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Returns a Python that has the modules: CKV_PYTHON, the repository's .venv or python3. Undefined if none has them. */
export function pythonWith(modules: string): string | undefined {
  const venv = fileURLToPath(new URL('../../.venv/bin/python', import.meta.url));
  const candidates = [process.env.CKV_PYTHON ?? '', existsSync(venv) ? venv : '', 'python3'].filter(
    (path) => path !== '',
  );
  return candidates.find((path) => spawnSync(path, ['-c', `import ${modules}`]).status === 0);
}
