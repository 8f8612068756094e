import { ckvPod, type Manifest, matches, ofKind, type Pairs, type PolicyRule, workloadsOf } from '../manifests.js';

/** A connection that a policy allows. */
type Side = 'ingress' | 'egress';

/** The connections of the two flows, of the console and of `ckv` between pods: caller, callee, port. */
const FLOWS = [
  'updater > user-cache:50052',
  'updater > pool:50051',
  'ranking > pool:50051',
  'updater > redis-queue:6379',
  'user-cache > redis-records:6379',
  'ranking > redis-records:6379',
  'console > pool:50051',
  'console > user-cache:50052',
  'console > ranking:50053',
  'console > redis-queue:6379',
  'console > pool:9464',
  'console > user-cache:9464',
  'console > ranking:9464',
  'console > updater:9464',
  'ckv > pool:50051',
  'ckv > user-cache:50052',
  'ckv > ranking:50053',
  'ckv > updater:50054',
  'ckv > redis-queue:6379',
  'ckv > pool:9464',
  'ckv > user-cache:9464',
  'ckv > ranking:9464',
  'ckv > updater:9464',
].sort();

/**
 * Between pods, the policies allow the connections of {@link FLOWS} and no others. Returns nothing if callers and callees
 * are not closed by default.
 */
export function flowProblems(manifests: readonly Manifest[]): string[] {
  if (!ofKind(manifests, 'NetworkPolicy').some(({ metadata }) => metadata.name === 'default-deny')) return [];
  const pods = [...workloadsOf(manifests).map(({ spec }) => spec.template), ckvPod()];
  const name = (labels: Pairs) => labels['app.kubernetes.io/name'];
  const allowed = pods.flatMap((caller) =>
    pods.flatMap((callee) =>
      callee.spec.containers
        .flatMap(({ ports = [] }) => ports)
        .filter((port) => isAllowed(manifests, caller.metadata.labels, callee.metadata.labels, port))
        .map(
          ({ containerPort }) => `${name(caller.metadata.labels)} > ${name(callee.metadata.labels)}:${containerPort}`,
        ),
    ),
  );
  const here = new Set(pods.map(({ metadata }) => name(metadata.labels)));
  const wanted = FLOWS.filter((flow) => flow.split(/ > |:/, 2).every((one) => here.has(one)));
  return [
    ...wanted.filter((flow) => !allowed.includes(flow)).map((flow) => `the policies refuse ${flow}`),
    ...allowed.filter((flow) => !wanted.includes(flow)).map((flow) => `the policies allow ${flow}`),
  ];
}

function isAllowed(
  manifests: readonly Manifest[],
  caller: Pairs,
  callee: Pairs,
  port: { name: string; containerPort: number },
): boolean {
  const passes = (side: Side, pod: Pairs, peer: Pairs) => {
    const type = side === 'ingress' ? 'Ingress' : 'Egress';
    const policies = ofKind(manifests, 'NetworkPolicy').filter(
      ({ spec }) => spec?.policyTypes?.includes(type) && matches(spec.podSelector ?? {}, pod),
    );
    const rules = policies.flatMap(({ spec }) => spec?.[side] ?? []);
    return policies.length === 0 || rules.some((rule) => letsPass(rule, peer, port));
  };
  return passes('egress', caller, callee) && passes('ingress', callee, caller);
}

function letsPass(
  { from, to, ports = [] }: PolicyRule,
  peer: Pairs,
  { name, containerPort }: { name: string; containerPort: number },
): boolean {
  const peers = from ?? to ?? [{ podSelector: {} }];
  const known = peers.some(
    ({ podSelector, namespaceSelector }) => podSelector && !namespaceSelector && matches(podSelector, peer),
  );
  return known && (ports.length === 0 || ports.some(({ port }) => port === containerPort || port === name));
}
