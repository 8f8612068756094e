import { environmentOf, type Manifest, servicesOf, titleOf, type Workload, workloadsOf } from '../manifests.js';

/** Time for a slow step of closing, seconds: STEP_TIMEOUT_MS of packages/service-kit. */
const CLOSING_S = 10;
/** A name is looked up every 4 s, and the list of endpoints takes some time. */
const LEAST_PRE_STOP_S = 8;
/** Volumes that the pod security standard `restricted` allows, and images. */
const VOLUMES = ['name', 'secret', 'configMap', 'persistentVolumeClaim', 'emptyDir', 'image'];

/** Pods have limits, an orderly end and the security of the standard `restricted`. */
export function podProblems(manifests: readonly Manifest[]): string[] {
  return workloadsOf(manifests).flatMap((workload) => {
    const found = [...limits(workload), ...security(workload), ...volumes(workload)];
    return found.map((problem) => `${titleOf(workload)}: ${problem}`);
  });
}

/** The services end in order: the callers notice, the calls finish, then the pod may be killed. */
export function drainProblems(manifests: readonly Manifest[]): string[] {
  return servicesOf(manifests).flatMap((workload) => {
    const { containers, terminationGracePeriodSeconds: grace = 30 } = workload.spec.template.spec;
    return containers.flatMap((container) => {
      const env = environmentOf(manifests, container);
      const preStop = container.lifecycle?.preStop?.sleep?.seconds ?? 0;
      const drain = (Number(env.CKV_DRAIN_DELAY_MS ?? 0) + Number(env.CKV_GRACE_MS ?? 10_000)) / 1_000;
      const needed = preStop + drain + CLOSING_S;
      const problems = [];
      if (preStop < LEAST_PRE_STOP_S) problems.push(`preStop waits ${preStop} s, less than ${LEAST_PRE_STOP_S} s`);
      if (grace < needed)
        problems.push(`terminationGracePeriodSeconds is ${grace}, less than the ${needed} s of its end`);
      return problems.map((problem) => `${titleOf(workload)}: ${problem}`);
    });
  });
}

function limits({ spec }: Workload): string[] {
  return spec.template.spec.containers.flatMap(({ name, resources = {} }) =>
    (['limits', 'requests'] as const).flatMap((kind) =>
      ['cpu', 'memory'].flatMap((unit) => (resources[kind]?.[unit] ? [] : [`${name} has no ${kind} of ${unit}`])),
    ),
  );
}

function security({ spec }: Workload): string[] {
  const { containers, securityContext = {}, automountServiceAccountToken } = spec.template.spec;
  const problems = [];
  if (automountServiceAccountToken !== false) problems.push('mounts a token of the API server');
  if (!securityContext.runAsNonRoot || !securityContext.runAsUser) problems.push('may run as root');
  if (securityContext.seccompProfile?.type !== 'RuntimeDefault') problems.push('has no seccomp profile');
  for (const { name, image, securityContext: own = {} } of containers) {
    if (own.allowPrivilegeEscalation !== false) problems.push(`${name} may gain privileges`);
    if (!own.readOnlyRootFilesystem) problems.push(`${name} may write its root file system`);
    if (!own.capabilities?.drop?.includes('ALL')) problems.push(`${name} keeps capabilities`);
    if (/:latest$/.test(image)) problems.push(`${name} runs whatever image is the latest`);
    if (!/(^|\/)collectivekv\/|@sha256:[0-9a-f]{64}$/.test(image)) problems.push(`${name} names no digest of ${image}`);
  }
  return problems;
}

function volumes({ spec }: Workload): string[] {
  const { containers, volumes: pod = [] } = spec.template.spec;
  const claimed = (spec.volumeClaimTemplates ?? []).map(({ metadata }) => metadata.name);
  const known = [...pod.map(({ name }) => name), ...claimed];
  const mounted = containers.flatMap(({ volumeMounts = [] }) => volumeMounts);
  return [
    ...mounted.filter(({ name }) => !known.includes(name)).map(({ name }) => `mounts ${name}, which is no volume`),
    ...known.filter((name) => !mounted.some((one) => one.name === name)).map((name) => `mounts no volume ${name}`),
    ...pod.flatMap((volume) =>
      Object.keys(volume)
        .filter((kind) => !VOLUMES.includes(kind))
        .map((kind) => `volume ${volume.name} is a ${kind}`),
    ),
    ...repeated(mounted.map(({ mountPath }) => mountPath)).map((path) => `mounts two volumes at ${path}`),
  ];
}

function repeated(values: readonly string[]): string[] {
  return values.filter((value, at) => values.indexOf(value) !== at);
}
