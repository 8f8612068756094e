/** A CPU profile as V8 writes it, as far as it is read here. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
    readonly children?: readonly number[];
  }[];
  /** Ids of the nodes that were found running. */
  readonly samples: readonly number[];
  /** Microseconds from each sample to the next. */
  readonly timeDeltas: readonly number[];
}

/** Where a thread spent its time. */
export interface TimeShares {
  /** Of all time, 0 to 1. */
  readonly busy: number;
  /** Of the busy time, by whose code it was or was called by; falling. */
  readonly shares: readonly (readonly [owner: string, share: number])[];
}

/** V8's own names for what is no function. */
const SPECIAL: Readonly<Record<string, string>> = {
  '(garbage collector)': 'garbage collection',
  '(program)': 'event loop and system calls',
};

/**
 * Sums a profile by owner: the npm package or our package whose function ran, or called what ran of Node and V8; Node itself
 * where none did, which is mostly its HTTP/2.
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
    const us = timeDeltas[i + 1] ?? 0; // what a sample finds runs until the next
    allUs += us;
    if (idle.has(id)) continue;
    busyUs += us;
    const owner = owners.get(id) ?? 'Node';
    sums.set(owner, (sums.get(owner) ?? 0) + us);
  }
  const shares = [...sums].map(([owner, us]) => [owner, us / busyUs] as const);
  return { busy: allUs > 0 ? busyUs / allUs : 0, shares: shares.sort(([, a], [, b]) => b - a) };
}

/** The package that a file is of; undefined for Node's own code and for what is in no file. */
function packageOf(url: string): string | undefined {
  const [, installed] = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url) ?? [];
  if (installed) return installed;
  const [, own] = /\/((?:packages|services)\/[^/]+)\//.exec(url) ?? [];
  return own;
}
