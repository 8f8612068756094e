/** A name or an address, and a port, at which replicas of a service have their metrics. */
export interface MetricsTarget {
  readonly host: string;
  readonly port: number;
}

const MAX_TARGETS = 64;
const FORM = /^(?:http:\/\/)?(\[[0-9a-fA-F:.]+\]|[\w.-]+):(\d{1,5})(?:\/metrics)?$/;

/** Reads a list of addresses with commas between them: `host:port`, or the whole URL of /metrics. */
export function parseMetricsTargets(text: string): {
  readonly targets: readonly MetricsTarget[];
  readonly problem: string | undefined;
} {
  const parts = text === '' ? [] : text.split(',').map((part) => part.trim());
  const targets: MetricsTarget[] = [];
  for (const [i, part] of parts.entries()) {
    const [, host = '', port = ''] = FORM.exec(part) ?? [];
    if (host === '' || Number(port) < 1 || Number(port) > 65_535) {
      return { targets: [], problem: `address ${i + 1} is not host:port; write ranking:9464, say` };
    }
    targets.push({ host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) });
  }
  if (targets.length > MAX_TARGETS) {
    return {
      targets: [],
      problem: `has ${targets.length} addresses, at most ${MAX_TARGETS} are allowed; use names with several addresses`,
    };
  }
  return { targets, problem: undefined };
}
