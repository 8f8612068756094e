/** The parts of a V8 CPU profile that are read here. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
    readonly children?: readonly number[];
  }[];
  /** For each sample, the id of the running node. */
  readonly samples: readonly number[];
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[];
}

/** A thread's use of time. */
export interface TimeShares {
  /** Busy share of all time, 0 to 1. */
  readonly busy: number;
  /** Shares of the busy time by owner, in descending order. */
  readonly shares: readonly (readonly [owner: string, share: number])[];
}

/** Our names for V8's pseudo-functions. */
const SPECIAL: Readonly<Record<string, string>> = {
  '(garbage collector)': 'garbage collection',
  '(program)': 'event loop and system calls',
};

/**
 * Sums a profile's time by owner. The owner is the npm package or our package of the running function. A function of
 * Node or V8 belongs to the package that called it, or to "Node" if no package did. "Node" is mostly its HTTP/2.
 */
export function timeShares({ nodes, samples, timeDeltas }: CpuProfile): TimeShares {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const owners = new Map<number, string>();
  const walk = (id: number, inherited: string) => {
    const node = byId.get(id);
    if (!node) return;
    const { functionName, url } = node.callFrame;
    const owner = SPECIAL[functionName] ?? packageOf(url) ?? inherited;
    owners.set(id, owner);
    for (const child of node.children ?? []) walk(child, owner);
  };
  const [root] = nodes;
  if (root) walk(root.id, 'Node');
  const idle = new Set(nodes.filter(({ callFrame }) => callFrame.functionName === '(idle)').map(({ id }) => id));
  const sums = new Map<string, number>();
  let [busyUs, allUs] = [0, 0];
  for (const [i, id] of samples.entries()) {
    const us = timeDeltas[i + 1] ?? 0; // a node counts as running until the next sample
    allUs += us;
    if (idle.has(id)) continue;
    busyUs += us;
    const owner = owners.get(id) ?? 'Node';
    sums.set(owner, (sums.get(owner) ?? 0) + us);
  }
  const shares = [...sums].map(([owner, us]) => [owner, us / busyUs] as const);
  return { busy: allUs > 0 ? busyUs / allUs : 0, shares: shares.sort(([, a], [, b]) => b - a) };
}

/** Returns the package of a file. Undefined for Node's code, and for code without a file. */
function packageOf(url: string): string | undefined {
  const [, installed] = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url) ?? [];
  if (installed) return installed;
  const [, own] = /\/((?:packages|services)\/[^/]+)\//.exec(url) ?? [];
  return own;
}
