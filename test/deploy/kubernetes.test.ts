// Renders deploy/kubernetes: each overlay, and the combinations of components. Every object is validated strictly, and
// what no schema can see is checked. The tools are those of requirements.txt; without them the tests are skipped.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig as consoleConfig } from '@collectivekv/console/config';
import { loadConfig as poolConfig } from '@collectivekv/pool/config';
import { loadConfig as rankingConfig } from '@collectivekv/ranking/config';
import { type CommonConfig, requireGuardedBind } from '@collectivekv/service-kit';
import { loadConfig as updaterConfig } from '@collectivekv/updater/config';
import { loadConfig as userCacheConfig } from '@collectivekv/user-cache/config';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { problemsOf } from './checks/index.js';
import { adapterQueries, unknownIn } from './checks/metrics.js';
import { environmentOf, type Manifest, named, readManifests, servicesOf, titleOf } from './manifests.js';
import { ownSecretsOf } from './own-secrets.js';
import { COMPONENTS, combinations, foldersIn, renderCombination, renderCopy, renderOverlay } from './render.js';
import { schemaProblems } from './strict-schemas.js';
import { pythonThatHas, ROOT, toolOf } from './tools.js';

const LOAD: Readonly<Record<string, (env: NodeJS.ProcessEnv) => CommonConfig>> = {
  pool: poolConfig,
  'user-cache': userCacheConfig,
  ranking: rankingConfig,
  updater: updaterConfig,
  console: consoleConfig,
};
const kubectl = toolOf('kubectl');
const python = pythonThatHas('kubernetes_validate');

/** A rendering, by the components that it has. */
interface Rendering {
  readonly title: string;
  readonly components: readonly string[];
  readonly manifests: readonly Manifest[];
}

function componentsOf(overlay: string): string[] {
  const path = join(ROOT, 'deploy/kubernetes/overlays', overlay, 'kustomization.yaml');
  const { components } = parse(readFileSync(path, 'utf8')) as { components: string[] };
  return components.map((path) => path.split('/').at(-1) ?? '');
}

it('combines every component, and each has a README', () => {
  expect(COMPONENTS).toEqual(foldersIn('components'));
  for (const name of COMPONENTS) {
    expect(existsSync(join(ROOT, 'deploy/kubernetes/components', name, 'README.md')), name).toBe(true);
  }
});

it('has rules for the Prometheus adapter that ask for metrics of the services', () => {
  expect([...adapterQueries().values()].flatMap(unknownIn)).toEqual([]);
});

it('names only variables that the page of the configuration has', () => {
  const page = readFileSync(join(ROOT, 'docs/configuration.md'), 'utf8');
  const deploy = join(ROOT, 'deploy');
  const files = readdirSync(deploy, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const named = files.flatMap(({ parentPath, name }) =>
    [...readFileSync(join(parentPath, name), 'utf8').matchAll(/\bCKV_(?!NPM_)\w+/g)].map(([variable]) => variable),
  );
  const known = (variable: string) =>
    [variable, variable.replace(/_FILE$/, '')].some((one) => page.includes(`\`${one}\``));
  expect(new Set(named).size).toBeGreaterThan(10);
  expect([...new Set(named)].filter((variable) => !known(variable))).toEqual([]);
});

it('documents only metrics of the services', () => {
  expect(unknownIn(readFileSync(join(ROOT, 'docs/operations.md'), 'utf8'))).toEqual([]);
});

describe.runIf(kubectl && python)('deploy/kubernetes', () => {
  const renderings: Rendering[] = [];

  beforeAll(async () => {
    const jobs = [
      ...foldersIn('overlays').map((name) => ({ title: `overlay ${name}`, components: componentsOf(name), name })),
      ...combinations().map((components) => ({ title: components.join(' + '), components, name: undefined })),
    ];
    const work = async () => {
      for (let job = jobs.shift(); job; job = jobs.shift()) {
        const { title, components, name } = job;
        const text = name
          ? await renderOverlay(kubectl ?? '', name)
          : await renderCombination(kubectl ?? '', components);
        renderings.push({ title, components, manifests: readManifests(text) });
      }
    };
    await Promise.all([work(), work()]);
  }, 600_000); // a busy machine

  it('has no field that Kubernetes, cert-manager, KEDA or the Prometheus operator does not know', async () => {
    const pods = ['bundle-copy.yaml', 'ckv-pod.yaml'].flatMap((file) =>
      readManifests(readFileSync(join(ROOT, 'deploy/kubernetes', file), 'utf8')),
    );
    const manifests = new Set([...renderings.flatMap((one) => one.manifests), ...pods]);
    expect(manifests.size).toBeGreaterThan(100);
    expect(await schemaProblems(python ?? '', [...manifests])).toEqual([]);
  });

  it('has ports, probes, limits, ends, names, volumes, flows and metrics that fit together', () => {
    for (const { title, components, manifests } of renderings) {
      expect(problemsOf(manifests, ownSecretsOf(components)), title).toEqual([]);
    }
  });

  it('sets only variables that the services take, to values that they take', () => {
    for (const { title, manifests } of renderings) {
      const taken = new Map<string, boolean>();
      for (const { metadata, spec } of servicesOf(manifests)) {
        for (const container of spec.template.spec.containers) {
          const env = environmentOf(manifests, container);
          const config = LOAD[metadata.name]?.(withoutFiles(env)) ?? {};
          for (const name of Object.keys(env)) {
            const known = name in config || name.replace(/_FILE$/, '') in config;
            taken.set(name, known || (taken.get(name) ?? false));
          }
          const own = (container.env ?? []).filter(
            ({ name }) => !(name in config || name.replace(/_FILE$/, '') in config),
          );
          expect(own, `${title}: ${metadata.name}`).toEqual([]);
        }
      }
      expect(
        [...taken].filter(([, known]) => !known),
        title,
      ).toEqual([]);
    }
  });

  it('brings the rules and the dashboard of deploy/monitoring to where the operator and the sidecar look', () => {
    const read = (file: string) => readFileSync(join(ROOT, 'deploy/monitoring', file), 'utf8');
    const watched = renderings.filter(({ components }) => components.includes('monitoring'));
    expect(watched.length).toBeGreaterThan(10);
    for (const { title, manifests } of watched) {
      expect(named(manifests, 'PrometheusRule', 'collectivekv')?.spec, title).toEqual(parse(read('rules.yaml')));
      const dashboard = named(manifests, 'ConfigMap', 'collectivekv-dashboard');
      expect(dashboard?.metadata.labels, title).toMatchObject({ grafana_dashboard: '1' });
      expect(dashboard?.data, title).toEqual({ 'collectivekv.json': read('dashboards/collectivekv.json') });
    }
  });

  it('takes each value of a copy of production to every place that it belongs to', async () => {
    const places = {
      storageClass: ['PersistentVolumeClaim bundles', 'PersistentVolumeClaim pool-state'],
      redisNetwork: ['NetworkPolicy redis-egress'],
      redisPort: ['NetworkPolicy redis-egress'],
      partitions: ['ConfigMap settings', 'ScaledObject updater'],
      prometheusAddress: ['ScaledObject updater'],
      prometheusRelease: ['PrometheusRule collectivekv', 'ServiceMonitor collectivekv'],
    };
    const path = join(ROOT, 'deploy/kubernetes/overlays/production/yours.yaml');
    const { data } = parse(readFileSync(path, 'utf8')) as { data: Record<string, string> };
    const numbers: Readonly<Record<string, string>> = { redisPort: '4711', partitions: '4712' };
    const mine = Object.fromEntries(Object.keys(data).map((key) => [key, numbers[key] ?? `mine-${key}`]));
    const text = await renderCopy(kubectl ?? '', 'production', mine);
    const having = (value: string) =>
      readManifests(text)
        .filter((one) => [`"${value}"`, `:${value}`].some((part) => JSON.stringify(one).includes(part)))
        .map((one) => titleOf(one).replace(/(?<=settings)-\w{10}$/, '')) // a ConfigMap's name ends with a hash of it
        .sort();
    expect(Object.fromEntries(Object.entries(mine).map(([key, value]) => [key, having(value)]))).toEqual(places);
    expect(having(data.prometheusAddress ?? '')).toEqual([]); // the component's own, in two triggers
  });

  it('opens no door beyond loopback without a guard, and none of production without tokens and TLS', () => {
    for (const { title, components, manifests } of renderings) {
      const warnings: object[] = [];
      for (const { metadata, spec } of servicesOf(manifests)) {
        const [container] = spec.template.spec.containers;
        const config = LOAD[metadata.name]?.(withoutFiles(container ? environmentOf(manifests, container) : {}));
        if (!config) throw new Error(`${title}: nobody reads the variables of ${metadata.name}`);
        if (components.includes('open')) continue; // it says so in as many words
        expect(config.CKV_ALLOW_INSECURE, `${title}: ${metadata.name}`).toBe(false);
        requireGuardedBind(config, { warn: (problem: object) => warnings.push(problem) });
        if (title === 'overlay production') expect(config.CKV_TOKENS_FILE).not.toBe('');
      }
      if (title === 'overlay production') expect(warnings).toEqual([]);
    }
  });

  it('lets only kubectl port-forward reach a console that asks nobody for a token or a certificate', () => {
    const open = renderings.filter(({ components, manifests }) => {
      return components.includes('open') && servicesOf(manifests).some(({ metadata }) => metadata.name === 'console');
    });
    expect(open.length).toBeGreaterThan(2);
    for (const { title, manifests } of open) {
      const console = servicesOf(manifests).find(({ metadata }) => metadata.name === 'console');
      const [container] = console?.spec.template.spec.containers ?? [];
      expect(container && environmentOf(manifests, container).CKV_BIND, title).toBe('127.0.0.1:50055');
    }
  });
});

/** Puts values in place of the files that only a pod has. */
function withoutFiles(env: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const values: Readonly<Record<string, string>> = {
    CKV_REDIS_URL: 'redis://redis-records:6379',
    CKV_QUEUE_REDIS_URL: 'redis://redis-queue:6379',
    CKV_TOKEN: 'a-token-of-24-characters',
  };
  return Object.fromEntries(
    Object.entries(env).map(([name, value]) => {
      const base = name.replace(/_FILE$/, '');
      return base !== name && base in values ? [base, values[base]] : [name, value];
    }),
  );
}
