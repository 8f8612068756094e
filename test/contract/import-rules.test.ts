// The import rules of docs/architecture.md. Lint lets a file import only the dependencies that its package.json
// declares. The tables below bound the dependencies that a package.json may declare.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readWorkspaces, root } from './workspaces.js';

const workspaces = readWorkspaces();
const packages = workspaces.filter(({ folder }) => folder.startsWith('packages/'));
const services = workspaces.filter(({ folder }) => folder.startsWith('services/'));

/** Our packages that each package may depend on. `cli` and `dev-stack` may depend on every package. */
const ALLOWED_PACKAGES: Readonly<Record<string, readonly string[]>> = {
  domain: [],
  contracts: [],
  'feed-simulator': [],
  'fleet-metrics': [],
  'private-ca': [],
  'debian-packages': [],
  'private-redis': ['debian-packages'],
  'redis-memory': [],
  tracing: [],
  credentials: ['domain'],
  engine: ['domain'],
  'redis-connection': ['credentials', 'domain', 'tracing'],
  'user-store': ['domain', 'redis-connection', 'redis-memory'],
  'interaction-log': ['domain'],
  'update-queue': ['domain', 'redis-connection', 'redis-memory', 'tracing'],
  rpc: ['contracts', 'credentials', 'domain', 'tracing'],
  'service-kit': ['credentials', 'domain', 'rpc', 'tracing'],
  client: ['contracts', 'domain', 'rpc'],
  operations: ['domain', 'rpc', 'update-queue'],
  bundles: ['contracts', 'credentials', 'domain', 'engine', 'rpc'],
};

/** Libraries that only the named packages may depend on. */
const LIBRARY_HOMES: readonly (readonly [string, readonly string[]])[] = [
  ['ioredis', ['redis-connection']],
  ['bullmq', ['update-queue']],
  ['onnxruntime-node', ['engine']],
  ['@grpc/grpc-js', ['contracts', 'rpc']],
  ['@grpc/proto-loader', ['contracts', 'rpc']],
  ['pino', ['service-kit']],
  ['@opentelemetry/api', ['service-kit', 'tracing']],
  ['@opentelemetry/sdk-trace-node', ['service-kit']],
];

const UNBOUNDED = ['cli', 'dev-stack'];

describe('package.json', () => {
  it('has a rule for every package', () => {
    expect([...Object.keys(ALLOWED_PACKAGES), ...UNBOUNDED].sort()).toEqual(packages.map(({ name }) => name));
  });

  it.each(packages.filter(({ name }) => !UNBOUNDED.includes(name)))('$folder keeps to its rule', (workspace) => {
    const ours = workspaces.filter(({ name }) => workspace.dependencies.includes(name)).map(({ name }) => name);
    expect(ours.filter((name) => !ALLOWED_PACKAGES[workspace.name]?.includes(name))).toEqual([]);
  });

  it.each(services)('$folder depends on packages, never on another service or a program', ({ name, dependencies }) => {
    // The console ranks as a backend does.
    const forbidden = [...services.map((one) => one.name), ...UNBOUNDED, ...(name === 'console' ? [] : ['client'])];
    expect(dependencies.filter((name) => forbidden.includes(name))).toEqual([]);
  });

  it.each(LIBRARY_HOMES)('%s lives in %j', (library, homes) => {
    const users = [...packages, ...services].filter(({ dependencies }) => dependencies.includes(library));
    expect(users.map(({ name }) => name)).toEqual(homes);
  });
});

describe('lint', () => {
  const FORBIDDEN = [
    ['packages/domain/src/a.ts', 'node:fs', 'domain is pure'],
    ['packages/domain/src/b.ts', 'node:timers/promises', 'domain is pure'],
    ['packages/domain/src/c.ts', '@collectivekv/engine', "isn't specified in packages/domain/package.json"],
    ['packages/user-store/src/a.ts', 'ioredis', "isn't specified in packages/user-store/package.json"],
    ['packages/user-store/src/b.ts', '@collectivekv/private-redis', "isn't specified in"],
    ['packages/user-store/src/c.test.ts', 'ioredis', 'a test reaches Redis through packages/redis-connection'],
    ['packages/user-store/src/d.test.ts', '../../domain/src/errors.js', 'import a package by its name'],
    ['packages/client/src/a.ts', '@collectivekv/rpc/server', 'a client loads no server code'],
    ['packages/domain/src/d.ts', '../../engine/src/engine.js', 'import a package by its name'],
    ['services/pool/src/a.ts', '../../../packages/domain/src/errors.js', 'import a package by its name'],
    ['services/ranking/src/a.ts', '@collectivekv/pool/config', "isn't specified in services/ranking/package.json"],
  ] as const;

  const CIRCLE = 'services/pool/src';

  let dir: string;
  let report: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'ckv-lint-'));
    cpSync(join(root, 'biome.json'), join(dir, 'biome.json'));
    for (const [file, imported] of FORBIDDEN) {
      mkdirSync(dirname(join(dir, file)), { recursive: true });
      writeFileSync(join(dir, file), `import { thing } from '${imported}';\n\nexport { thing };\n`);
    }
    for (const { folder } of workspaces) {
      mkdirSync(join(dir, folder), { recursive: true });
      cpSync(join(root, folder, 'package.json'), join(dir, folder, 'package.json'));
    }
    // Two files that import each other, one of them a type alone.
    writeFileSync(
      join(dir, CIRCLE, 'left.ts'),
      "import type { Right } from './right.js';\n\nexport type Left = Right;\n",
    );
    writeFileSync(
      join(dir, CIRCLE, 'right.ts'),
      "import { type Left } from './left.js';\n\nexport type Right = Left;\n",
    );
    const args = ['lint', '--vcs-enabled=false', '--reporter=github', '--max-diagnostics=none', '.'];
    const lint = spawnSync(join(root, 'node_modules/.bin/biome'), args, { cwd: dir, encoding: 'utf8' });
    report = `${lint.stdout}${lint.stderr}`;
    expect(lint.status).not.toBe(0);
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it.each(FORBIDDEN)('refuses that %s imports %s', (file, _imported, message) => {
    const findings = report.split('\n').filter((line) => line.includes(file));
    expect(findings.join('\n')).toContain(message);
  });

  it.each(['left.ts', 'right.ts'])('refuses a circle of imports, of types too: %s', (file) => {
    const findings = report.split('\n').filter((line) => line.includes(`${CIRCLE}/${file}`));
    expect(findings.join('\n')).toContain('part of a cycle');
  });
});
