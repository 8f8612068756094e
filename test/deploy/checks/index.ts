import type { Manifest } from '../manifests.js';
import { flowProblems } from './flows.js';
import { metricProblems } from './metrics.js';
import { nameProblems, type OwnSecrets } from './names.js';
import { drainProblems, podProblems } from './pods.js';
import { portProblems } from './ports.js';

/** Returns what no schema can see: wrong ports, unknown names, missing limits, a short end, wrong flows. */
export function problemsOf(manifests: readonly Manifest[], ownSecrets: OwnSecrets): string[] {
  return [
    ...portProblems(manifests),
    ...podProblems(manifests),
    ...drainProblems(manifests),
    ...nameProblems(manifests, ownSecrets),
    ...flowProblems(manifests),
    ...metricProblems(manifests),
  ];
}
