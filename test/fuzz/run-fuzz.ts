import type { ServiceProcess } from '@collectivekv/dev-stack';
import type { DoorResult } from './door.js';
import { DEMO_BUNDLE, HISTORY_BUNDLE } from './fixture-bundles.js';
import { growthOf, type Kept, keptBy } from './growth.js';
import type { ParserDoorName } from './parser-doors.js';
import { runApart } from './run-apart.js';
import { SERVICE_DOORS, type ServiceDoorName } from './service-doors.js';
import { type ServicesUnderFuzz, startServices } from './services-under-fuzz.js';

/** Name of a door. */
export type DoorName = ServiceDoorName | ParserDoorName | 'records-with-history' | 'jobs-with-history';

/** Malformed inputs of each door in a run of 100,000 or more. Cheap inputs are more. */
const INPUTS: Readonly<Record<DoorName, number>> = {
  requests: 24_000,
  connections: 1_500,
  tokens: 4_000,
  records: 4_000,
  jobs: 3_000,
  'records-with-history': 1_000,
  'jobs-with-history': 1_000,
  manifests: 12_000,
  'bundle-files': 600,
  graphs: 600,
  logs: 3_000,
  'redis-urls': 31_000,
  configurations: 20_000,
};
export const DOOR_NAMES = Object.keys(INPUTS) as DoorName[];
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
  /** Malformed inputs of all doors. */
  readonly inputs: number;
  readonly doors: readonly DoorResult[];
  readonly growth: readonly Growth[];
  /** What went wrong; empty if nothing did. */
  readonly faults: readonly string[];
}

/** Options of {@link runFuzz}. */
export interface FuzzOptions {
  readonly seed: number;
  /** Malformed inputs of all doors together, about. */
  readonly count: number;
  /** The doors to attack. Default: all. */
  readonly doors?: readonly DoorName[];
  readonly onProgress?: (message: string) => void;
}

/** Attacks the doors: those of services on two stacks, and at the same time the parsers in processes of their own. */
export async function runFuzz(options: FuzzOptions): Promise<FuzzResults> {
  const { seed, count, onProgress = () => undefined } = options;
  const wanted = options.doors ?? DOOR_NAMES;
  const countOf = (name: DoorName) => Math.max(10, Math.round((INPUTS[name] * count) / TOTAL));
  const report = (result: DoorResult, name: DoorName): DoorResult => {
    onProgress(
      `${name}: ${result.inputs} inputs, ${result.fault === undefined ? 'no fault' : `FAULT ${result.fault}`}`,
    );
    return result;
  };

  async function attackParsers(): Promise<DoorResult[]> {
    const results: DoorResult[] = [];
    for (const name of wanted) {
      if (name in SERVICE_DOORS || name.endsWith('-with-history')) continue;
      results.push(report(await runApart(name as ParserDoorName, { seed, count: countOf(name) }), name));
    }
    return results;
  }

  async function attackServices(bundleDir: string, suffix: string): Promise<{ doors: DoorResult[]; growth: Growth[] }> {
    const names = wanted.filter((name) => isServiceDoor(name, suffix));
    if (names.length === 0) return { doors: [], growth: [] };
    const services = await startServices(bundleDir);
    try {
      const attack = async (seed: number, share: number) => {
        const results: DoorResult[] = [];
        for (const name of names)
          results.push(await attackDoor(services, name, suffix, { seed, count: countOf(name) * share }));
        return results;
      };
      const warmUp = await attack(seed + 1, 0.2);
      const before = await keptByAll(services);
      const rest = await attack(seed, 0.8);
      const after = await keptByAll(services);
      const doors = names.map((name, i) => report(joined(warmUp[i] as DoorResult, rest[i] as DoorResult), name));
      const growth = before.map(([process, kept], i) => ({
        process: process + suffix,
        before: kept,
        after: after[i]?.[1] ?? kept,
      }));
      return { doors, growth };
    } finally {
      await services.close();
    }
  }

  async function attackAllServices() {
    const plain = await attackServices(DEMO_BUNDLE, '');
    const history = await attackServices(HISTORY_BUNDLE, '-with-history');
    return { doors: [...plain.doors, ...history.doors], growth: [...plain.growth, ...history.growth] };
  }

  const [ofServices, ofParsers] = await Promise.all([attackAllServices(), attackParsers()]);
  const doors = [...ofServices.doors, ...ofParsers];
  const grown = ofServices.growth.map(({ process, before, after }) => growthOf(process, before, after)).filter(Boolean);
  return {
    seed,
    inputs: doors.reduce((sum, { inputs }) => sum + inputs, 0),
    doors,
    growth: ofServices.growth,
    faults: [...doors.flatMap(({ door, fault }) => (fault === undefined ? [] : [`${door}: ${fault}`])), ...grown],
  };
}

function isServiceDoor(name: DoorName, suffix: string): boolean {
  return suffix === '' ? name in SERVICE_DOORS : name.endsWith(suffix);
}

async function attackDoor(
  services: ServicesUnderFuzz,
  name: DoorName,
  suffix: string,
  { seed, count }: { readonly seed: number; readonly count: number },
): Promise<DoorResult> {
  const door = await SERVICE_DOORS[name.slice(0, name.length - suffix.length) as ServiceDoorName](services);
  try {
    const result = await door.attack({ seed, count: Math.ceil(count) });
    return suffix === '' ? result : { ...result, door: `${result.door}, encoding with history` };
  } finally {
    await door.close();
  }
}

async function keptByAll({ stack }: ServicesUnderFuzz): Promise<(readonly [string, Kept])[]> {
  const kept: (readonly [string, Kept])[] = [];
  const all: readonly ServiceProcess[] = Object.values(stack.services).flat();
  for (const service of all) kept.push([service.name, await keptBy(service)]);
  return kept;
}

function joined(first: DoorResult, rest: DoorResult): DoorResult {
  const fault = first.fault ?? rest.fault;
  return {
    door: rest.door,
    inputs: first.inputs + rest.inputs,
    refused: first.refused + rest.refused,
    accepted: first.accepted + rest.accepted,
    validChecks: first.validChecks + rest.validChecks,
    ...(fault === undefined ? {} : { fault }),
  };
}
