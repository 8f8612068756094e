// The parts of Kubernetes objects that the checks read.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ROOT } from './tools.js';

/** Labels, or the pairs of a ConfigMap. */
export type Pairs = Readonly<Record<string, string>>;

/** A selector of labels. */
export interface Selector {
  readonly matchLabels?: Pairs;
  readonly matchExpressions?: readonly { key: string; operator: string; values?: readonly string[] }[];
}

/** A probe or a hook. */
export interface Action {
  readonly httpGet?: { readonly path: string; readonly port: string | number };
  readonly tcpSocket?: { readonly port: string | number };
  readonly exec?: { readonly command: readonly string[] };
  readonly sleep?: { readonly seconds: number };
}

/** A container. */
export interface Container {
  readonly name: string;
  readonly image: string;
  readonly env?: readonly { name: string; value?: string }[];
  readonly envFrom?: readonly { configMapRef?: { name: string }; secretRef?: { name: string } }[];
  readonly ports?: readonly { name: string; containerPort: number }[];
  readonly resources?: { readonly limits?: Pairs; readonly requests?: Pairs };
  readonly startupProbe?: Action;
  readonly readinessProbe?: Action;
  readonly livenessProbe?: Action;
  readonly lifecycle?: { readonly preStop?: Action };
  readonly volumeMounts?: readonly { name: string; mountPath: string; readOnly?: boolean }[];
  readonly securityContext?: {
    readonly allowPrivilegeEscalation?: boolean;
    readonly readOnlyRootFilesystem?: boolean;
    readonly capabilities?: { readonly drop?: readonly string[] };
  };
}

/** A volume of a pod. */
export interface Volume {
  readonly name: string;
  readonly secret?: { readonly secretName: string; readonly items?: readonly { key: string; path: string }[] };
  readonly configMap?: { readonly name: string };
  readonly persistentVolumeClaim?: { readonly claimName: string };
  readonly emptyDir?: object;
  readonly image?: object;
}

/** What a pod is made of. */
export interface PodSpec {
  readonly serviceAccountName?: string;
  readonly automountServiceAccountToken?: boolean;
  readonly terminationGracePeriodSeconds?: number;
  readonly securityContext?: {
    readonly runAsNonRoot?: boolean;
    readonly runAsUser?: number;
    readonly seccompProfile?: { readonly type: string };
  };
  readonly topologySpreadConstraints?: readonly { readonly labelSelector: Selector }[];
  readonly containers: readonly Container[];
  readonly volumes?: readonly Volume[];
}

/** One side of a network policy's rule. */
export interface PolicyRule {
  readonly from?: readonly PolicyPeer[];
  readonly to?: readonly PolicyPeer[];
  readonly ports?: readonly { readonly port: number | string }[];
}

/** Whom a network policy's rule lets in or out. */
export interface PolicyPeer {
  readonly podSelector?: Selector;
  readonly namespaceSelector?: Selector;
  readonly ipBlock?: object;
}

/** A Kubernetes object. Each kind has some of these fields. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Pairs };
  readonly data?: Pairs;
  readonly spec?: {
    readonly replicas?: number;
    readonly selector?: Selector & Pairs;
    readonly template?: { readonly metadata: { readonly labels: Pairs }; readonly spec: PodSpec };
    readonly volumeClaimTemplates?: readonly { readonly metadata: { readonly name: string } }[];
    readonly clusterIP?: string;
    readonly ports?: readonly { name: string; port: number; targetPort: number | string }[];
    readonly podSelector?: Selector;
    readonly policyTypes?: readonly string[];
    readonly ingress?: readonly PolicyRule[];
    readonly egress?: readonly PolicyRule[];
    readonly scaleTargetRef?: { readonly name: string };
    readonly maxReplicas?: number;
    readonly maxReplicaCount?: number;
    readonly secretName?: string;
    readonly isCA?: boolean;
    readonly dnsNames?: readonly string[];
    readonly endpoints?: readonly { readonly port: string }[];
    readonly jobLabel?: string;
    readonly groups?: readonly { readonly rules: readonly { readonly expr: string }[] }[];
    readonly triggers?: readonly { readonly type: string; readonly metadata: Pairs }[];
    readonly metrics?: readonly { readonly pods?: { readonly metric: { readonly name: string } } }[];
  };
}

/** A Deployment or StatefulSet. */
export interface Workload extends Manifest {
  readonly spec: NonNullable<Manifest['spec']> & {
    readonly template: { readonly metadata: { readonly labels: Pairs }; readonly spec: PodSpec };
  };
}

/** Objects that were read, by their text: most renderings share most of them. */
const read = new Map<string, Manifest>();

/** Reads the objects of a rendered YAML stream. Equal texts give the same object. */
export function readManifests(text: string): Manifest[] {
  return text.split(/^---\n/m).map((one) => {
    const manifest = read.get(one) ?? (parse(one) as Manifest);
    read.set(one, manifest);
    return manifest;
  });
}

/** Returns the objects of a kind. */
export function ofKind(manifests: readonly Manifest[], kind: string): Manifest[] {
  return manifests.filter((one) => one.kind === kind);
}

/** Returns the object of a kind and name. */
export function named(manifests: readonly Manifest[], kind: string, name: string): Manifest | undefined {
  return manifests.find((one) => one.kind === kind && one.metadata.name === name);
}

/** Returns the objects that make pods. */
export function workloadsOf(manifests: readonly Manifest[]): Workload[] {
  return manifests.filter((one): one is Workload => one.spec?.template !== undefined);
}

/** Returns the pod in which deploy/kubernetes/ckv runs. No overlay has it. */
export function ckvPod(): Workload['spec']['template'] {
  const [pod] = readManifests(readFileSync(join(ROOT, 'deploy/kubernetes/ckv-pod.yaml'), 'utf8'));
  return { metadata: { labels: pod?.metadata.labels ?? {} }, spec: pod?.spec as unknown as PodSpec };
}

/** Returns the workloads that run a service of this repository. */
export function servicesOf(manifests: readonly Manifest[]): Workload[] {
  return workloadsOf(manifests).filter(({ kind }) => kind === 'Deployment');
}

/** Names an object in a problem. */
export function titleOf({ kind, metadata }: Manifest): string {
  return `${kind} ${metadata.name}`;
}

/** True if the labels match a selector. */
export function matches({ matchLabels = {}, matchExpressions = [] }: Selector, labels: Pairs = {}): boolean {
  const pairsMatch = Object.entries(matchLabels).every(([key, value]) => labels[key] === value);
  return (
    pairsMatch &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      if (operator !== 'In') throw new Error(`the checks know no operator ${operator}`);
      return values.includes(labels[key] ?? '');
    })
  );
}

/** Returns a container's environment: its ConfigMaps, then its own variables. */
export function environmentOf(manifests: readonly Manifest[], container: Container): Record<string, string> {
  const shared = (container.envFrom ?? []).map(
    ({ configMapRef }) => named(manifests, 'ConfigMap', configMapRef?.name ?? '')?.data ?? {},
  );
  const own = Object.fromEntries((container.env ?? []).map(({ name, value = '' }) => [name, value]));
  return Object.assign({}, ...shared, own);
}
