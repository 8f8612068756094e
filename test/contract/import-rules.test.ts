// The import rules of docs/architecture.md are lint rules: each is broken here once.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

const FORBIDDEN = [
  ['packages/domain/src', '@collectivekv/engine', 'domain imports nothing'],
  ['packages/domain/src', 'node:fs', 'domain is pure'],
  ['packages/contracts/src', '@collectivekv/domain', 'contracts imports nothing'],
  ['packages/engine/src', '@collectivekv/user-store', 'engine imports domain'],
  ['packages/user-store/src', 'ioredis', 'ioredis lives in packages/redis-connection'],
  ['packages/client/src', '@collectivekv/service-kit', 'client imports contracts'],
  ['services/ranking/src', '@collectivekv/pool/config', 'services import packages, never each other'],
  ['services/ranking/src', 'onnxruntime-node', 'onnxruntime-node lives in packages/engine'],
  ['services/updater/src', 'bullmq', 'bullmq lives in packages/update-queue'],
  ['packages/cli/src', '@grpc/grpc-js', 'grpc-js lives in'],
  ['services/pool/src', '../../../packages/domain/src/errors.js', 'import a package by its name'],
] as const;

let dir: string;
let report: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-lint-'));
  cpSync(join(root, 'biome.json'), join(dir, 'biome.json'));
  for (const [i, [folder, name]] of FORBIDDEN.entries()) {
    const file = join(dir, folder, `forbidden-${i}.ts`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `import { thing } from '${name}';\n\nexport { thing };\n`);
  }
  const args = ['lint', '--vcs-enabled=false', '--reporter=github', '--max-diagnostics=none', '.'];
  const lint = spawnSync(join(root, 'node_modules/.bin/biome'), args, { cwd: dir, encoding: 'utf8' });
  report = `${lint.stdout}${lint.stderr}`;
  expect(lint.status).not.toBe(0);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it.each(FORBIDDEN.map((rule, i) => [...rule, i] as const))('%s may not import %s', (_folder, _name, message, i) => {
  const findings = report.split('\n').filter((line) => line.includes(`forbidden-${i}.ts`));
  expect(findings.join('\n')).toContain(message);
});
