import { parseMetrics, type Sample } from './metrics-text.js';

/** The metrics of one process at one time. */
export interface Scrape {
  /** `host:port` of its /metrics. */
  readonly target: string;
  /** When it was asked, by a steady clock, ms. */
  readonly atMs: number;
  /** None if it did not answer. */
  readonly samples: readonly Sample[];
  /** Why it did not answer; empty if it did. */
  readonly problem: string;
}

/** Options of {@link scrapeAll}. */
export interface ScrapeOptions {
  /** Longest time for one process, ms. Default 2,000. */
  readonly timeoutMs?: number;
  /** Longest answer of one process, bytes. Default 8 MiB. */
  readonly maxBytes?: number;
}

/** Asks processes for their metrics, all at once. A process that does not answer becomes a scrape with a problem. */
export function scrapeAll(
  targets: readonly string[],
  { timeoutMs = 2_000, maxBytes = 8 * 1024 * 1024 }: ScrapeOptions = {},
): Promise<Scrape[]> {
  return Promise.all(
    targets.map(async (target) => {
      const atMs = performance.now();
      try {
        const response = await fetch(`http://${target}/metrics`, { signal: AbortSignal.timeout(timeoutMs) });
        if (!response.ok) throw new Error(`answers ${response.status}`);
        return { target, atMs, samples: parseMetrics(await textOf(response, maxBytes)), problem: '' };
      } catch (error) {
        return { target, atMs, samples: [], problem: problemOf(error, timeoutMs) };
      }
    }),
  );
}

async function textOf({ body }: Response, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body ?? []) {
    bytes += chunk.length;
    if (bytes > maxBytes)
      throw new Error(`answers more than ${maxBytes} bytes: is it the address of a service's metrics?`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function problemOf(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `does not answer within ${timeoutMs} ms`;
  const { code, message } = Object(error.cause) as { code?: string; message?: string };
  return error.message === 'fetch failed' ? `cannot be reached: ${code ?? message}` : error.message;
}
