// Refuses unknown fields, wrong types and missing fields. Kubernetes' own kinds have JSON schemas; those of cert-manager,
// KEDA and the Prometheus operator have types of TypeScript, which refuse unknown fields of a literal.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Manifest, titleOf } from './manifests.js';
import { ROOT, runProgram } from './tools.js';

/** The oldest version of Kubernetes that the manifests need, by deploy/kubernetes/README.md. */
const KUBERNETES_VERSION = '1.34';
/** Where the types of a kind are, by apiVersion and kind. */
const TYPES: Readonly<Record<string, string>> = {
  'cert-manager.io/v1/Certificate': '@kubernetes-models/cert-manager/cert-manager.io/v1/Certificate',
  'cert-manager.io/v1/Issuer': '@kubernetes-models/cert-manager/cert-manager.io/v1/Issuer',
  'keda.sh/v1alpha1/ScaledObject': '@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject',
  'monitoring.coreos.com/v1/PrometheusRule':
    '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule',
  'monitoring.coreos.com/v1/ServiceMonitor':
    '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor',
};
const VALIDATE = `
import json, sys
import kubernetes_validate
for at, manifest in enumerate(json.load(open(sys.argv[1]))):
    try:
        kubernetes_validate.validate(manifest, sys.argv[2], strict=True)
    except kubernetes_validate.ValidationError as error:
        print(json.dumps([at, ".".join(map(str, error.path)) + ": " + error.message[:300]]))
    except kubernetes_validate.SchemaNotFoundError as error:
        print(json.dumps([at, error.message]))
`;

const keyOf = ({ apiVersion, kind }: Manifest) => `${apiVersion}/${kind}`;

/** Returns the problems of the objects. */
export async function schemaProblems(python: string, manifests: readonly Manifest[]): Promise<string[]> {
  const dir = mkdtempSync(join(tmpdir(), 'ckv-schemas-'));
  try {
    const custom = manifests.filter((one) => keyOf(one) in TYPES);
    const builtIn = manifests.filter((one) => !(keyOf(one) in TYPES));
    const found = await Promise.all([builtInProblems(python, builtIn, dir), customProblems(custom, dir)]);
    return found.flat();
  } finally {
    rmSync(dir, { recursive: true });
  }
}

async function builtInProblems(python: string, manifests: readonly Manifest[], dir: string): Promise<string[]> {
  const file = join(dir, 'manifests.json');
  writeFileSync(file, JSON.stringify(manifests));
  const { stdout } = await runProgram(python, ['-c', VALIDATE, file, KUBERNETES_VERSION], { maxBuffer: 2 ** 26 });
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [at, problem] = JSON.parse(line) as [number, string];
      const manifest = manifests[at];
      return `${manifest ? titleOf(manifest) : ''}: ${problem}`;
    });
}

async function customProblems(manifests: readonly Manifest[], dir: string): Promise<string[]> {
  if (manifests.length === 0) return [];
  const kinds = [...new Set(manifests.map(keyOf))];
  const imports = kinds.map((key) => {
    const kind = key.split('/').at(-1);
    return `import type { I${kind} } from ${JSON.stringify(typesOf(TYPES[key] ?? ''))};`;
  });
  const literals = manifests.map(
    (one, at) => `export const _${at}_${one.kind}: I${one.kind} = ${JSON.stringify(one)};`,
  );
  const file = join(dir, 'manifests.ts');
  const lines = [...imports, ...literals];
  writeFileSync(file, lines.join('\n'));
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'esnext', '--moduleResolution', 'bundler'];
  const tsc = join(ROOT, 'node_modules/.bin/tsc');
  const args = [...options, '--types', '', '--pretty', 'false', file];
  const { stdout } = await runProgram(tsc, args, { cwd: dir }).catch((error: { stdout?: string }) => {
    if (!error.stdout) throw error;
    return { stdout: error.stdout };
  });
  return stdout
    .split('\n')
    .filter((line) => line.includes('error TS'))
    .map((line) => {
      const [, row, text] = /\((\d+),\d+\): error TS\d+: (.*)/.exec(line) ?? [];
      const manifest = manifests[Number(row) - 1 - imports.length];
      return manifest ? `${titleOf(manifest)}: ${text}` : line;
    });
}

function typesOf(module: string): string {
  const [scope, name, ...rest] = module.split('/');
  const folder = dirname(createRequire(import.meta.url).resolve(`${scope}/${name}/package.json`));
  return join(folder, ...rest);
}
