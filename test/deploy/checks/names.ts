import {
  environmentOf,
  type Manifest,
  matches,
  named,
  ofKind,
  servicesOf,
  titleOf,
  type Workload,
  workloadsOf,
} from '../manifests.js';

/** Labels of pods that need not be there. The policies know them all the same. */
const MAYBE_ABSENT = ['console', 'ckv'].map((name) => ({ 'app.kubernetes.io/name': name }));

/** Secrets that an operator makes, with their keys: the READMEs of the components list them. */
export type OwnSecrets = ReadonlyMap<string, readonly string[]>;

/** Names lead to objects: of Secrets, ConfigMaps, volumes' claims, accounts, targets, and of what selectors select. */
export function nameProblems(manifests: readonly Manifest[], ownSecrets: OwnSecrets): string[] {
  return [
    ...workloadsOf(manifests).flatMap((workload) => [
      ...references(manifests, workload, ownSecrets),
      ...files(manifests, workload, ownSecrets),
      ...targets(manifests, workload),
    ]),
    ...selectors(manifests),
  ];
}

/** Returns the keys of a Secret; undefined if there is none. cert-manager makes those of Certificates. */
function keysOf(manifests: readonly Manifest[], name: string, ownSecrets: OwnSecrets): readonly string[] | undefined {
  const made = named(manifests, 'Secret', name);
  if (made?.data) return Object.keys(made.data);
  const issued = ofKind(manifests, 'Certificate').some(({ spec }) => spec?.secretName === name);
  return issued ? ['tls.crt', 'tls.key', 'ca.crt'] : ownSecrets.get(name);
}

function references(manifests: readonly Manifest[], workload: Workload, ownSecrets: OwnSecrets): string[] {
  const { containers, volumes = [], serviceAccountName } = workload.spec.template.spec;
  const lacks = (kind: string, name: string | undefined) =>
    name === undefined || named(manifests, kind, name) ? [] : [`${titleOf(workload)} names the ${kind} ${name}`];
  return [
    ...lacks('ServiceAccount', serviceAccountName),
    ...containers.flatMap(({ envFrom = [] }) => envFrom.flatMap((one) => lacks('ConfigMap', one.configMapRef?.name))),
    ...volumes.flatMap(({ configMap, persistentVolumeClaim, secret }) => {
      const found = [
        ...lacks('ConfigMap', configMap?.name),
        ...lacks('PersistentVolumeClaim', persistentVolumeClaim?.claimName),
      ];
      if (!secret) return found;
      const keys = keysOf(manifests, secret.secretName, ownSecrets);
      if (!keys) return [...found, `${titleOf(workload)} names the Secret ${secret.secretName}`];
      const missing = (secret.items ?? []).filter(({ key }) => !keys.includes(key));
      return [...found, ...missing.map(({ key }) => `${titleOf(workload)} names ${secret.secretName}/${key}`)];
    }),
  ];
}

/** Files and folders of the environment lie in a volume. A file of a Secret is one of its keys. */
function files(manifests: readonly Manifest[], workload: Workload, ownSecrets: OwnSecrets): string[] {
  const { containers, volumes = [] } = workload.spec.template.spec;
  return containers.flatMap((container) =>
    Object.entries(environmentOf(manifests, container))
      .filter(([name, path]) => /_(FILE|DIR)$/.test(name) && path !== '')
      .flatMap(([name, path]) => {
        const mount = container.volumeMounts?.find(({ mountPath }) => `${path}/`.startsWith(`${mountPath}/`));
        if (!mount) return [`${titleOf(workload)}: ${name} is ${path}, which is in no volume`];
        const secret = volumes.find((one) => one.name === mount.name)?.secret;
        if (!secret) return [];
        const keys = secret.items?.map((one) => one.path) ?? keysOf(manifests, secret.secretName, ownSecrets) ?? [];
        const key = path.slice(mount.mountPath.length + 1);
        return keys.includes(key) ? [] : [`${titleOf(workload)}: ${name} is ${path}, which the Secret does not have`];
      }),
  );
}

/** A target is a headless Service with this port, so that it leads to every replica. So are addresses of metrics. */
function targets(manifests: readonly Manifest[], workload: Workload): string[] {
  return workload.spec.template.spec.containers.flatMap((container) =>
    Object.entries(environmentOf(manifests, container))
      .filter(([name]) => /_TARGET$|^CKV_CONSOLE_METRICS$/.test(name))
      .flatMap(([name, value]) => value.split(',').map((target) => [name, target] as const))
      .flatMap(([name, target]) => {
        const [, host = '', port] = /^(?:dns:\/\/\/)?([\w-]+):(\d+)$/.exec(target) ?? [];
        const spec = named(manifests, 'Service', host)?.spec;
        const known = spec?.clusterIP === 'None' && spec.ports?.some((one) => one.port === Number(port));
        return known ? [] : [`${titleOf(workload)}: ${name} is ${target}, which no headless Service has`];
      }),
  );
}

function selectors(manifests: readonly Manifest[]): string[] {
  const workloads = workloadsOf(manifests);
  const labels = workloads.map(({ spec }) => spec.template.metadata.labels);
  const own = workloads.flatMap((workload) => {
    const spread = workload.spec.template.spec.topologySpreadConstraints ?? [];
    const all = [workload.spec.selector ?? {}, ...spread.map(({ labelSelector }) => labelSelector)];
    const wrong = all.some((selector) => !matches(selector, workload.spec.template.metadata.labels));
    return wrong ? [`${titleOf(workload)} does not select its own pods`] : [];
  });
  const others = manifests.flatMap((manifest) => {
    const { kind, spec } = manifest;
    const selector = kind === 'NetworkPolicy' ? spec?.podSelector : kind === 'PodDisruptionBudget' && spec?.selector;
    if (!selector || [...labels, ...MAYBE_ABSENT].some((one) => matches(selector, one))) return [];
    return [`${titleOf(manifest)} selects no pod`];
  });
  const monitors = ofKind(manifests, 'ServiceMonitor').flatMap((monitor) => {
    const seen = ofKind(manifests, 'Service').filter(({ metadata }) =>
      matches(monitor.spec?.selector ?? {}, metadata.labels),
    );
    const blind = (monitor.spec?.endpoints ?? []).some(
      ({ port }) => seen.length === 0 || seen.some(({ spec }) => !spec?.ports?.some(({ name }) => name === port)),
    );
    return blind ? [`${titleOf(monitor)} finds no port of a Service`] : [];
  });
  return [...own, ...others, ...monitors, ...scaled(manifests), ...budgets(manifests)];
}

function scaled(manifests: readonly Manifest[]): string[] {
  const scalers = manifests.filter(({ spec }) => spec?.scaleTargetRef);
  const names = scalers.map(({ spec }) => spec?.scaleTargetRef?.name ?? '');
  return scalers.flatMap((scaler, at) => {
    const name = names[at] ?? '';
    const target = named(manifests, 'Deployment', name);
    if (!target) return [`${titleOf(scaler)} scales ${name}, which does not exist`];
    if (names.indexOf(name) !== at) return [`${titleOf(scaler)}: another autoscaler has ${name}`];
    if (target.spec?.replicas !== undefined) return [`${titleOf(scaler)}: ${name} has a count of its own`];
    const [container] = target.spec?.template?.spec.containers ?? [];
    const partitions = container ? Number(environmentOf(manifests, container).CKV_PARTITIONS) : 0;
    const most = scaler.spec?.maxReplicas ?? scaler.spec?.maxReplicaCount ?? 0;
    return name === 'updater' && most > partitions ? [`${titleOf(scaler)}: more updaters than partitions`] : [];
  });
}

/** A service of one pod needs no budget: it would let the pod go, or keep its node from being drained. */
function budgets(manifests: readonly Manifest[]): string[] {
  const all = ofKind(manifests, 'PodDisruptionBudget').map(({ spec }) => spec?.selector ?? {});
  return servicesOf(manifests)
    .filter(
      ({ spec }) => spec.replicas !== 1 && !all.some((selector) => matches(selector, spec.template.metadata.labels)),
    )
    .map((workload) => `${titleOf(workload)} has no PodDisruptionBudget`);
}
