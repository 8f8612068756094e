import { FIGURED_METRICS, fleetFigures, type Scrape, scrapeAll } from '@collectivekv/fleet-metrics';
import type { FleetPoint, FleetView } from '../views.js';
import { pointOf, replicaView } from './fleet-view.js';
import { replicasOf } from './replicas.js';
import type { MetricsTarget } from './targets.js';

/** Looks at the metrics of all replicas, and remembers the last looks. */
export interface Fleet {
  view(): FleetView;
  close(): void;
}

/** Options of {@link watchFleet}. */
export interface FleetOptions {
  readonly targets: readonly MetricsTarget[];
  readonly everyMs: number;
  /** Called with the number of replicas that answered, and of those that did not, after each look. */
  readonly onLook?: (answered: number, failed: number) => void;
}

/** What one look found. */
type Look = readonly Scrape[];

/** Looks that are remembered as points. */
const POINTS = 360;
/** Most replicas that are looked at. */
const MAX_REPLICAS = 256;
/** The figures of a replica are those of this time. */
const WINDOW_MS = 60_000;
/** Whole looks are kept this far apart. */
const KEEP_EVERY_MS = 15_000;

/** Begins to look at the metrics, now and every `everyMs`. */
export function watchFleet({ targets, everyMs, onLook }: FleetOptions): Fleet {
  const points: FleetPoint[] = [];
  /** Of the last minute, oldest first. */
  let kept: { readonly atMs: number; readonly look: Look }[] = [];
  let latest: Look = [];
  let closed = false;
  let timer: NodeJS.Timeout | undefined;

  async function look(): Promise<void> {
    const atMs = performance.now();
    const found = await Promise.all(targets.map(addressesOf));
    const addresses = [...new Set(found.flatMap((one) => one.addresses))].slice(0, MAX_REPLICAS);
    const scrapes = (await scrapeAll(addresses)).map(figured);
    const answered = scrapes.filter(({ problem }) => problem === '');
    if (closed) return;
    if (latest.length > 0) points.push(pointOf(fleetFigures(latest, answered), Date.now()));
    if (points.length > POINTS) points.shift();
    latest = [...scrapes, ...found.flatMap(({ unknown }) => unknown)];
    const last = kept.at(-1);
    if (!last || atMs - last.atMs >= KEEP_EVERY_MS) kept.push({ atMs, look: answered });
    kept = kept.filter((one, i) => i === kept.length - 1 || atMs - one.atMs <= WINDOW_MS);
    onLook?.(answered.length, latest.length - answered.length);
  }

  async function loop(): Promise<void> {
    await look();
    if (!closed) timer = setTimeout(loop, everyMs).unref();
  }

  if (targets.length > 0) void loop();
  return {
    view() {
      const { processes, bundles } = fleetFigures(kept[0]?.look ?? [], latest);
      const names = new Map(bundles.map(({ bundleId, name }) => [bundleId, name]));
      const isFirst = kept.length < 2 && kept[0]?.look.every((scrape) => latest.includes(scrape));
      const replicas = processes.map((one) => replicaView(one, names, isFirst !== true)).sort(byService);
      return { configured: targets.length > 0, everyS: everyMs / 1_000, replicas, points };
    },
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

/** Returns a scrape with the samples alone that figures are made of: it is kept for a while. */
function figured(scrape: Scrape): Scrape {
  return { ...scrape, samples: scrape.samples.filter(({ name }) => FIGURED_METRICS.test(name)) };
}

/** Returns the addresses of a target. If its name is not known, a replica with this problem stands for it. */
async function addressesOf(target: MetricsTarget): Promise<{ addresses: readonly string[]; unknown: Look }> {
  try {
    return { addresses: await replicasOf(target), unknown: [] };
  } catch (error) {
    const problem = `its name cannot be looked up: ${(error as Error).message}`;
    const scrape = { target: `${target.host}:${target.port}`, atMs: performance.now(), samples: [], problem };
    return { addresses: [], unknown: [scrape] };
  }
}

const ORDER = ['ranking', 'updater', 'user-cache', 'pool'];

function byService(a: { service: string; address: string }, b: { service: string; address: string }): number {
  const rank = ({ service }: { service: string }) => (ORDER.includes(service) ? ORDER.indexOf(service) : ORDER.length);
  return rank(a) - rank(b) || (a.address < b.address ? -1 : 1);
}
