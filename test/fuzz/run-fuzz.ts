import type { ServiceProcess } from '@collectivekv/dev-stack';
import { DEMO_BUNDLE, HISTORY_BUNDLE } from './fixture-bundles.js';
import { growthOf, type Kept, keptBy } from './growth.js';
import type { ParserSurfaceName } from './parser-surfaces.js';
import { runApart } from './run-apart.js';
import { SERVICE_SURFACES, type ServiceSurfaceName } from './service-surfaces.js';
import { type ServicesUnderFuzz, startServices } from './services-under-fuzz.js';
import type { SurfaceResult } from './surface.js';

/** Name of a surface. */
export type SurfaceName = ServiceSurfaceName | ParserSurfaceName | 'records-with-history' | 'jobs-with-history';

/** Malformed inputs of each surface in a run of 100,000 or more. Cheap inputs are more. */
const INPUTS: Readonly<Record<SurfaceName, number>> = {
  requests: 10_000,
  connections: 600,
  tokens: 2_000,
  records: 1_500,
  jobs: 1_000,
  'records-with-history': 400,
  'jobs-with-history': 400,
  manifests: 8_000,
  'bundle-files': 300,
  graphs: 300,
  logs: 1_500,
  'redis-urls': 46_000,
  configurations: 30_000,
};
export const SURFACE_NAMES = Object.keys(INPUTS) as SurfaceName[];
const TOTAL = Object.values(INPUTS).reduce((sum, count) => sum + count, 0);

/** What a process keeps after the warm-up and at the end. */
export interface Growth {
  readonly process: string;
  readonly before: Kept;
  readonly after: Kept;
}

/** The results of a run. */
export interface FuzzResults {
  readonly seed: number;
  /** Malformed inputs of all surfaces. */
  readonly inputs: number;
  readonly surfaces: readonly SurfaceResult[];
  readonly growth: readonly Growth[];
  /** What went wrong; empty if nothing did. */
  readonly faults: readonly string[];
}

/** Options of {@link runFuzz}. */
export interface FuzzOptions {
  readonly seed: number;
  /** Malformed inputs of all surfaces together, about. */
  readonly count: number;
  /** The surfaces to attack. Default: all. */
  readonly surfaces?: readonly SurfaceName[];
  readonly onProgress?: (message: string) => void;
}

/**
 * Attacks the surfaces: those of services on two stacks, and at the same time the parsers in processes of their own.
 */
export async function runFuzz(options: FuzzOptions): Promise<FuzzResults> {
  const { seed, count, onProgress = () => undefined } = options;
  const wanted = options.surfaces ?? SURFACE_NAMES;
  const countOf = (name: SurfaceName) => Math.max(10, Math.round((INPUTS[name] * count) / TOTAL));
  const report = (result: SurfaceResult, name: SurfaceName): SurfaceResult => {
    onProgress(
      `${name}: ${result.inputs} inputs, ${result.fault === undefined ? 'no fault' : `FAULT ${result.fault}`}`,
    );
    return result;
  };

  async function attackParsers(): Promise<SurfaceResult[]> {
    const results: SurfaceResult[] = [];
    for (const name of wanted) {
      if (name in SERVICE_SURFACES || name.endsWith('-with-history')) continue;
      results.push(report(await runApart(name as ParserSurfaceName, { seed, count: countOf(name) }), name));
    }
    return results;
  }

  async function attackServices(
    bundleDir: string,
    suffix: string,
  ): Promise<{ surfaces: SurfaceResult[]; growth: Growth[] }> {
    const names = wanted.filter((name) => isServiceSurface(name, suffix));
    if (names.length === 0) return { surfaces: [], growth: [] };
    const services = await startServices(bundleDir);
    try {
      const attack = async (seed: number, share: number) => {
        const results: SurfaceResult[] = [];
        for (const name of names)
          results.push(await attackSurface(services, name, suffix, { seed, count: countOf(name) * share }));
        return results;
      };
      const warmUp = await attack(seed + 1, 0.2);
      const before = await keptByAll(services);
      const rest = await attack(seed, 0.8);
      const after = await keptByAll(services);
      const surfaces = names.map((name, i) =>
        report(joined(warmUp[i] as SurfaceResult, rest[i] as SurfaceResult), name),
      );
      const growth = before.map(([process, kept], i) => ({
        process: process + suffix,
        before: kept,
        after: after[i]?.[1] ?? kept,
      }));
      return { surfaces, growth };
    } finally {
      await services.close();
    }
  }

  async function attackAllServices() {
    const plain = await attackServices(DEMO_BUNDLE, '');
    const history = await attackServices(HISTORY_BUNDLE, '-with-history');
    return { surfaces: [...plain.surfaces, ...history.surfaces], growth: [...plain.growth, ...history.growth] };
  }

  const [ofServices, ofParsers] = await Promise.all([attackAllServices(), attackParsers()]);
  const surfaces = [...ofServices.surfaces, ...ofParsers];
  const grown = ofServices.growth.map(({ process, before, after }) => growthOf(process, before, after)).filter(Boolean);
  return {
    seed,
    inputs: surfaces.reduce((sum, { inputs }) => sum + inputs, 0),
    surfaces,
    growth: ofServices.growth,
    faults: [
      ...surfaces.flatMap(({ surface, fault }) => (fault === undefined ? [] : [`${surface}: ${fault}`])),
      ...grown,
    ],
  };
}

function isServiceSurface(name: SurfaceName, suffix: string): boolean {
  return suffix === '' ? name in SERVICE_SURFACES : name.endsWith(suffix);
}

async function attackSurface(
  services: ServicesUnderFuzz,
  name: SurfaceName,
  suffix: string,
  { seed, count }: { readonly seed: number; readonly count: number },
): Promise<SurfaceResult> {
  const surface = await SERVICE_SURFACES[name.slice(0, name.length - suffix.length) as ServiceSurfaceName](services);
  try {
    const result = await surface.attack({ seed, count: Math.ceil(count) });
    return suffix === '' ? result : { ...result, surface: `${result.surface}, encoding with history` };
  } finally {
    await surface.close();
  }
}

async function keptByAll({ stack }: ServicesUnderFuzz): Promise<(readonly [string, Kept])[]> {
  const kept: (readonly [string, Kept])[] = [];
  const all: readonly ServiceProcess[] = Object.values(stack.services).flat();
  for (const service of all) kept.push([service.name, await keptBy(service)]);
  return kept;
}

function joined(first: SurfaceResult, rest: SurfaceResult): SurfaceResult {
  const fault = first.fault ?? rest.fault;
  return {
    surface: rest.surface,
    inputs: first.inputs + rest.inputs,
    refused: first.refused + rest.refused,
    accepted: first.accepted + rest.accepted,
    validChecks: first.validChecks + rest.validChecks,
    ...(fault === undefined ? {} : { fault }),
  };
}
