import { environmentOf, type Manifest, matches, ofKind, servicesOf, titleOf, workloadsOf } from '../manifests.js';

/** Ports of Services, probes and settings are those of containers, and every container is probed. */
export function portProblems(manifests: readonly Manifest[]): string[] {
  return [...servicePorts(manifests), ...probes(manifests), ...boundPorts(manifests)];
}

/** A headless Service only names pods, so its port must be the container's. */
function servicePorts(manifests: readonly Manifest[]): string[] {
  return ofKind(manifests, 'Service').flatMap((service) => {
    const selector = { matchLabels: service.spec?.selector ?? {} };
    const pods = workloadsOf(manifests).filter(({ spec }) => matches(selector, spec.template.metadata.labels));
    if (pods.length !== 1) return [`${titleOf(service)} selects ${pods.length} workloads`];
    const open = pods.flatMap(({ spec }) => spec.template.spec.containers.flatMap(({ ports = [] }) => ports));
    return (service.spec?.ports ?? []).flatMap(({ name, port, targetPort }) => {
      const found = open.find((one) => one.name === targetPort || one.containerPort === targetPort);
      if (!found) return [`${titleOf(service)}: port ${name} leads to ${targetPort}, which no container has`];
      const differs = service.spec?.clusterIP === 'None' && found.containerPort !== port;
      return differs ? [`${titleOf(service)}: port ${name} is ${port}, the container's ${found.containerPort}`] : [];
    });
  });
}

function probes(manifests: readonly Manifest[]): string[] {
  return workloadsOf(manifests).flatMap((workload) =>
    workload.spec.template.spec.containers.flatMap((container) =>
      (['startupProbe', 'readinessProbe', 'livenessProbe'] as const).flatMap((kind) => {
        const probe = container[kind];
        if (!probe) return [`${titleOf(workload)}: ${container.name} has no ${kind}`];
        const port = probe.httpGet?.port ?? probe.tcpSocket?.port;
        const known = (container.ports ?? []).some((one) => one.name === port || one.containerPort === port);
        if (port !== undefined && !known) return [`${titleOf(workload)}: ${kind} asks port ${port}, which is not open`];
        const path = probe.httpGet?.path;
        const served = path === undefined || path === (kind === 'readinessProbe' ? '/readyz' : '/livez');
        return served ? [] : [`${titleOf(workload)}: ${kind} asks for ${path}`];
      }),
    ),
  );
}

function boundPorts(manifests: readonly Manifest[]): string[] {
  return servicesOf(manifests).flatMap((workload) =>
    workload.spec.template.spec.containers.flatMap((container) => {
      const env = environmentOf(manifests, container);
      return (container.ports ?? []).flatMap(({ name, containerPort: port }) => {
        const { [name === 'metrics' ? 'CKV_METRICS_BIND' : 'CKV_BIND']: bind = '' } = env;
        const isBound = bind === `0.0.0.0:${port}` || (name === 'page' && bind === `127.0.0.1:${port}`);
        return isBound ? [] : [`${titleOf(workload)}: port ${name} is ${port}, bound is ${bind}`];
      });
    }),
  );
}
