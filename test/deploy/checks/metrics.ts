import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { type Manifest, matches, ofKind, titleOf } from '../manifests.js';
import { ROOT } from '../tools.js';

/** Fields of KEDA's trigger for Prometheus that are used. Its schema takes any field. */
const TRIGGER_FIELDS = ['activationThreshold', 'query', 'serverAddress', 'threshold'];

/** Names of the metrics that the services' sources register. */
const REGISTERED = new Set(['packages', 'services'].flatMap((role) => sourcesIn(join(ROOT, role)).flatMap(namesIn)));

/** Metrics that the rules of the Prometheus adapter make. */
const ADAPTED = adapterRules();

/** Autoscalers ask for metrics that exist, and rules for jobs that a monitor makes. */
export function metricProblems(manifests: readonly Manifest[]): string[] {
  const pods = ofKind(manifests, 'HorizontalPodAutoscaler').flatMap((scaler) =>
    (scaler.spec?.metrics ?? [])
      .flatMap(({ pods }) => (pods ? [pods.metric.name] : []))
      .filter((name) => !ADAPTED.has(name))
      .map((name) => `${titleOf(scaler)}: no rule of the adapter makes ${name}`),
  );
  const triggers = ofKind(manifests, 'ScaledObject').flatMap((scaler) =>
    (scaler.spec?.triggers ?? []).flatMap(({ metadata }) => [
      ...Object.keys(metadata)
        .filter((field) => !TRIGGER_FIELDS.includes(field))
        .map((field) => `${titleOf(scaler)}: a trigger has the field ${field}`),
      ...unknownIn(metadata.query ?? '').map((name) => `${titleOf(scaler)}: no service has the metric ${name}`),
    ]),
  );
  return [...pods, ...triggers, ...jobProblems(manifests)];
}

/** A monitor names its jobs by a label of the Services. The rules look for such names. */
function jobProblems(manifests: readonly Manifest[]): string[] {
  const wanted = ofKind(manifests, 'PrometheusRule').flatMap(({ spec }) =>
    (spec?.groups ?? []).flatMap(({ rules }) => rules.flatMap(({ expr }) => [...expr.matchAll(/\bjob=~"([^"]*)"/g)])),
  );
  return ofKind(manifests, 'ServiceMonitor').flatMap((monitor) =>
    ofKind(manifests, 'Service')
      .filter(({ metadata }) => matches(monitor.spec?.selector ?? {}, metadata.labels))
      .map(({ metadata }) => metadata.labels?.[monitor.spec?.jobLabel ?? ''] ?? metadata.name)
      .filter((job) => wanted.some(([, jobs]) => !new RegExp(`^(?:${jobs})$`).test(job)))
      .map((job) => `${titleOf(monitor)}: no rule looks for the job ${job}`),
  );
}

/** Returns the names in a query that no service registers. */
export function unknownIn(query: string): string[] {
  return [...query.matchAll(/\bckv_\w+/g)]
    .map(([name]) => name.replace(/_(bucket|count|sum)$/, ''))
    .filter((name) => !REGISTERED.has(name));
}

function adapterRules(): Map<string, string> {
  const path = join(ROOT, 'deploy/kubernetes/components/autoscaling/adapter-rules.yaml');
  const { rules } = parse(readFileSync(path, 'utf8')) as {
    rules: { custom: { name: { as: string }; seriesQuery: string; metricsQuery: string }[] };
  };
  return new Map(
    rules.custom.map(({ name, seriesQuery, metricsQuery }) => [name.as, `${seriesQuery} ${metricsQuery}`]),
  );
}

/** Returns the queries of the adapter's rules, by the metric that they make. */
export function adapterQueries(): ReadonlyMap<string, string> {
  return ADAPTED;
}

function sourcesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /^[\w-]+\/src\/.*\.ts$/.test(name) && !/\.test\.ts$/.test(name))
    .map((name) => join(folder, name));
}

function namesIn(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(/'(ckv_\w+)'/g)].map(([, name = '']) => name);
}
