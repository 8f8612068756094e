import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parse, stringify } from 'yaml';
import { ROOT, runProgram } from './tools.js';

const KUBERNETES = join(ROOT, 'deploy/kubernetes');
/** Every deployment takes one of each row. */
const REDIS = ['redis-evaluation', 'redis-external'] as const;
const CALLERS = [
  ['open'],
  ['tokens'],
  ['tls'],
  ['tls-cert-manager'],
  ['tokens', 'tls'],
  ['tokens', 'tls-cert-manager'],
];
/** Each of these may be there or not. */
const FREE = ['autoscaling', 'autoscaling-updater', 'bundles-image', 'gpu', 'monitoring', 'network-policies'];

/** A resource beside base, which may be there or not. */
const CONSOLE = 'console';

/** Names of the components that combinations have. */
export const COMPONENTS = [...new Set([...REDIS, ...CALLERS.flat(), ...FREE])].sort();

/** Returns the folders of a folder of deploy/kubernetes. */
export function foldersIn(folder: 'components' | 'overlays'): string[] {
  return readdirSync(join(KUBERNETES, folder)).sort();
}

/**
 * Returns the combinations: every Redis with every kind of callers, alone, with the console, and with all of the others;
 * and every set of the others.
 */
export function combinations(): string[][] {
  const kinds = REDIS.flatMap((redis) => CALLERS.map((callers) => [redis, ...callers]));
  const [first = []] = kinds;
  const sets = Array.from({ length: 2 ** FREE.length }, (_, set) => FREE.filter((_, i) => set & (1 << i)));
  const all = [
    ...kinds.flatMap((kind) => [
      kind,
      [...kind, CONSOLE],
      [...kind, CONSOLE, ...FREE],
      [...FREE, CONSOLE, ...kind].reverse(),
    ]),
    ...sets.map((set) => [...first, ...set]),
  ];
  return [...new Map(all.map((one) => [one.join(), one])).values()];
}

/** Renders an overlay. */
export async function renderOverlay(kubectl: string, name: string): Promise<string> {
  return renderFolder(kubectl, join(KUBERNETES, 'overlays', name));
}

/** Renders the base with components, in their order. The name `console` stands for the resource. */
export async function renderCombination(kubectl: string, names: readonly string[]): Promise<string> {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'ckv-deploy-')));
  const from = relative(dir, KUBERNETES);
  const kustomization = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    namespace: 'collectivekv',
    resources: ['base', ...names.filter((name) => name === CONSOLE)].map((name) => join(from, name)),
    components: names.filter((name) => name !== CONSOLE).map((name) => join(from, 'components', name)),
  };
  try {
    writeFileSync(join(dir, 'kustomization.yaml'), stringify(kustomization));
    return await renderFolder(kubectl, dir);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Renders a copy of an overlay, with the values of its `yours.yaml` replaced. */
export async function renderCopy(kubectl: string, overlay: string, yours: Readonly<Record<string, string>>) {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'ckv-deploy-')));
  const source = join(KUBERNETES, 'overlays', overlay);
  try {
    for (const name of readdirSync(source)) {
      const text = readFileSync(join(source, name), 'utf8').replaceAll('../../', `${relative(dir, KUBERNETES)}/`);
      const own = name === 'yours.yaml' ? stringify({ ...parse(text), data: yours }) : text;
      writeFileSync(join(dir, name), own);
    }
    return await renderFolder(kubectl, dir);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

async function renderFolder(kubectl: string, dir: string): Promise<string> {
  const { stdout } = await runProgram(kubectl, ['kustomize', dir], { maxBuffer: 2 ** 26 });
  return stdout;
}
