// Each check bites: a fault that is planted into a rendering is found, and named.
import { beforeAll, describe, expect, it } from 'vitest';
import { problemsOf } from './checks/index.js';
import { type Manifest, readManifests, titleOf } from './manifests.js';
import { ownSecretsOf } from './own-secrets.js';
import { renderCombination } from './render.js';
import { schemaProblems } from './strict-schemas.js';
import { pythonThatHas, toolOf } from './tools.js';

const COMPONENTS = [
  'console',
  'redis-evaluation',
  'tokens',
  'tls-cert-manager',
  'autoscaling',
  'autoscaling-updater',
  'monitoring',
  'network-policies',
];
const POD = 'spec.template.spec';
const CONTAINER = `${POD}.containers.service`;
/** Lets every pod call every other. */
const OPEN = {
  podSelector: {},
  policyTypes: ['Ingress', 'Egress'],
  ingress: [{ from: [{ podSelector: {} }] }],
  egress: [{ to: [{ podSelector: {} }] }],
};
const kubectl = toolOf('kubectl');
const python = pythonThatHas('kubernetes_validate');

/** Where a fault is planted: the beginning of the object's title, and a path; the value, undefined to remove it. */
type Fault = readonly [what: string, title: string, path: string, value: unknown, problem: RegExp];

const SCHEMA_FAULTS: readonly Fault[] = [
  ['an unknown field', 'Deployment pool', `${POD}.hostNetworks`, true, /hostNetworks/],
  ['an unknown field of a container', 'Deployment pool', `${CONTAINER}.resource`, {}, /resource/],
  ['a wrong type', 'Service pool', 'spec.ports.grpc.port', '50051', /Service pool: spec.ports/],
  ['an unknown kind', 'Service pool', 'kind', 'Servise', /kind Servise/],
  ['an unknown field of KEDA', 'ScaledObject updater', 'spec.minReplicas', 2, /minReplicas/],
  ['a missing field of KEDA', 'ScaledObject updater', 'spec.triggers', undefined, /triggers/],
  ['an unknown usage of a key', 'Certificate pool', 'spec.usages.0', 'serving', /serving/],
  ['an unknown field of a rule', 'PrometheusRule collectivekv', 'spec.groups.0.rules.0.expression', '1', /expression/],
  ['an unknown field of a monitor', 'ServiceMonitor collectivekv', 'spec.ports', [], /ports/],
];

const FAULTS: readonly Fault[] = [
  ['another port of a Service', 'Service ranking', 'spec.ports.grpc.port', 1, /port grpc is 1, the container's 50053/],
  ['a Service of no port', 'Service ranking', 'spec.ports.grpc.targetPort', 'http', /leads to http/],
  ['a Service of no pod', 'Service ranking', 'spec.selector', { a: 'b' }, /selects 0 workloads/],
  [
    'a port that is not bound',
    'Deployment ranking',
    `${CONTAINER}.ports.grpc.containerPort`,
    1,
    /port grpc is 1, bound/,
  ],
  ['no probe', 'Deployment ranking', `${CONTAINER}.readinessProbe`, undefined, /has no readinessProbe/],
  ['a probe of a closed port', 'Deployment ranking', `${CONTAINER}.livenessProbe.httpGet.port`, 'a', /asks port a/],
  ['a probe of a path', 'Deployment ranking', `${CONTAINER}.readinessProbe.httpGet.path`, '/', /Probe asks for \/$/m],
  ['no limit', 'Deployment ranking', `${CONTAINER}.resources.limits.memory`, undefined, /no limits of memory/],
  ['no request', 'Deployment ranking', `${CONTAINER}.resources.requests.cpu`, undefined, /no requests of cpu/],
  ['a short end', 'Deployment updater', `${POD}.terminationGracePeriodSeconds`, 30, /is 30, less than the 37 s/],
  ['no pause before the end', 'Deployment updater', `${CONTAINER}.lifecycle`, undefined, /preStop waits 0 s/],
  ['an unknown Secret', 'Deployment ranking', `${POD}.volumes.redis.secret.secretName`, 'a', /names the Secret a/],
  ['a URL of another', 'Deployment ranking', `${POD}.volumes.redis.secret.items.0.key`, 'a', /names redis-\w+\/a/],
  ['an unknown key', 'Deployment ranking', `${POD}.volumes.own-token.secret.items.0.key`, 'a', /names tokens\/a/],
  ['an unknown ConfigMap', 'Deployment pool', `${CONTAINER}.envFrom.0.configMapRef.name`, 'a', /names the ConfigMap a/],
  ['an unknown claim', 'Deployment pool', `${POD}.volumes.state.persistentVolumeClaim.claimName`, 'a', /VolumeClaim a/],
  ['an unknown account', 'Deployment pool', `${POD}.serviceAccountName`, 'a', /names the ServiceAccount a/],
  [
    'a mount of no volume',
    'Deployment pool',
    `${CONTAINER}.volumeMounts.state.name`,
    'a',
    /mounts a, which is no volume/,
  ],
  [
    'a volume without a mount',
    'Deployment pool',
    `${CONTAINER}.volumeMounts.state`,
    undefined,
    /mounts no volume state/,
  ],
  [
    'a file outside',
    'Deployment updater',
    `${CONTAINER}.env.CKV_CACHE_DIR.value`,
    '/var',
    /\/var, which is in no volume/,
  ],
  [
    'a file that the Secret lacks',
    'Deployment ranking',
    `${CONTAINER}.env.CKV_REDIS_URL_FILE.value`,
    '/run/secrets/redis/url',
    /which the Secret does not have/,
  ],
  [
    'a target of nobody',
    'ConfigMap settings',
    'data.CKV_POOL_TARGET',
    'dns:///pool:1',
    /which no headless Service has/,
  ],
  ['a Service with an address', 'Service pool', 'spec.clusterIP', undefined, /which no headless Service has/],
  ['a budget of no pods', 'PodDisruptionBudget pool', 'spec.selector.matchLabels', { a: 'b' }, /pool selects no pod/],
  ['no budget', 'PodDisruptionBudget pool', 'kind', 'ConfigMap', /Deployment pool has no PodDisruptionBudget/],
  ['a monitor of no port', 'ServiceMonitor collectivekv', 'spec.endpoints.0.port', 'http', /finds no port/],
  ['jobs of no rule', 'ServiceMonitor collectivekv', 'spec.jobLabel', undefined, /no rule looks for the job pool/],
  ['a count beside an autoscaler', 'Deployment ranking', 'spec.replicas', 2, /ranking has a count of its own/],
  ['an autoscaler of nothing', 'HorizontalPodAutoscaler ranking', 'spec.scaleTargetRef.name', 'a', /scales a, which/],
  ['too many updaters', 'ScaledObject updater', 'spec.maxReplicaCount', 17, /more updaters than partitions/],
  ['an unknown metric', 'ScaledObject updater', 'spec.triggers.1.metadata.query', 'ckv_a', /has the metric ckv_a/],
  ['an unknown field of a trigger', 'ScaledObject updater', 'spec.triggers.1.metadata.treshold', '1', /field treshold/],
  [
    'a metric that no adapter makes',
    'HorizontalPodAutoscaler ranking',
    'spec.metrics.1.pods.metric.name',
    'ckv_a',
    /no rule of the adapter makes ckv_a/,
  ],
  ['a flow too few', 'NetworkPolicy bundles-pool', 'spec.ingress.0.ports.0.port', 1, /refuse ranking > pool:50051/],
  ['a flow too many', 'NetworkPolicy default-deny', 'spec', OPEN, /the policies allow ranking > user-cache:50052/],
  [
    'metrics of nobody',
    'Deployment console',
    `${CONTAINER}.env.CKV_CONSOLE_METRICS.value`,
    'pool:1',
    /which no headless/,
  ],
  [
    'a page that is not bound',
    'Deployment console',
    `${CONTAINER}.env.CKV_BIND.value`,
    '0.0.0.0:1',
    /port page is 50055/,
  ],
  ['no certificate', 'Certificate console', 'spec.secretName', 'a', /Deployment console names the Secret console-tls/],
  ['no token', 'Deployment console', `${POD}.volumes.own-token.secret.items.0.key`, 'a', /console names tokens\/a/],
  [
    'a console that may not look',
    'NetworkPolicy console-reads',
    'spec.podSelector.matchExpressions.0.values',
    ['pool'],
    /the policies refuse console > ranking:50053/,
  ],
  [
    'a policy of no pods',
    'NetworkPolicy console',
    'spec.podSelector.matchLabels',
    { a: 'b' },
    /console selects no pod/,
  ],
  ['two consoles without a budget', 'Deployment console', 'spec.replicas', 2, /console has no PodDisruptionBudget/],
  [
    'an image without digest',
    'StatefulSet redis-queue',
    `${POD}.containers.redis.image`,
    'redis:7',
    /no digest of redis:7/,
  ],
  ['a root user', 'Deployment pool', `${POD}.securityContext.runAsNonRoot`, false, /may run as root/],
  ['privileges', 'Deployment pool', `${CONTAINER}.securityContext.allowPrivilegeEscalation`, true, /gain privileges/],
  ['a writable root', 'Deployment pool', `${CONTAINER}.securityContext.readOnlyRootFilesystem`, false, /may write its/],
  ['a folder of the node', 'Deployment pool', `${POD}.volumes.state.hostPath`, { path: '/' }, /state is a hostPath/],
];

describe.runIf(kubectl && python)('a planted fault is found', () => {
  let sound: readonly Manifest[];
  beforeAll(async () => {
    sound = readManifests(await renderCombination(kubectl ?? '', COMPONENTS));
  });

  it('finds none before', async () => {
    expect(problemsOf(sound, ownSecretsOf(COMPONENTS))).toEqual([]);
    expect(await schemaProblems(python ?? '', sound)).toEqual([]);
  });

  it.each(SCHEMA_FAULTS)('by a schema: %s', async (_, title, path, value, problem) => {
    const { manifest } = planted(sound, title, path, value);
    expect((await schemaProblems(python ?? '', [manifest])).join('\n')).toMatch(problem);
  });

  it.each(FAULTS)('by a check: %s', (_, title, path, value, problem) => {
    const { manifests } = planted(sound, title, path, value);
    expect(problemsOf(manifests, ownSecretsOf(COMPONENTS)).join('\n')).toMatch(problem);
  });
});

/** Returns copies of the objects, with a fault in the one whose title begins so. */
function planted(sound: readonly Manifest[], title: string, path: string, value: unknown) {
  const manifests = structuredClone(sound) as Manifest[];
  const manifest = manifests.find((one) => titleOf(one) === title || titleOf(one).startsWith(`${title}-`));
  if (!manifest) throw new Error(`there is no ${title}`);
  const steps = path.split('.');
  const last = steps.pop() ?? '';
  const parent = steps.reduce<unknown>((at, step) => child(at, step), manifest) as Record<string, unknown> | unknown[];
  if (!Array.isArray(parent)) Object.assign(parent, { [last]: value });
  else if (value === undefined) parent.splice(parent.indexOf(child(parent, last)), 1);
  else parent[Number(last)] = value;
  return { manifests, manifest };
}

/** Returns a field of an object, or an item of a list by its number or its name. */
function child(at: unknown, step: string): unknown {
  const found = Array.isArray(at)
    ? (at[Number(step)] ?? at.find(({ name }) => name === step))
    : (at as Record<string, unknown>)[step];
  if (found === undefined) throw new Error(`nothing is at ${step}`);
  return found;
}
