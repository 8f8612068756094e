import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import {
  type BundleTrust,
  followBundleTrust,
  installBundle,
  type LoadedBundle,
  loadBundle,
  readManifestBytes,
} from '@collectivekv/bundles';
import { readNamedFile } from '@collectivekv/credentials';
import { bundleIdOf, counted, invalidRequest, steadyNowMs, toCkvError } from '@collectivekv/domain';
import { createEngine, type Engine } from '@collectivekv/engine';
import {
  type Capture,
  captureKeysIn,
  environmentOf,
  openCapture,
  type Replayed,
  readCapture,
  replayCapture,
  replayNeeds,
} from '@collectivekv/ranking/replay';
import { Command, Option } from 'commander';
import type { Connections } from './connections.js';
import { cannotBeRead } from './file-problems.js';

/** Scores that differ by more are not the same, whatever machine computed them. */
const LIMIT = 1e-4;
/** Largest capture: a request has at most 16 MiB. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;

interface Options {
  readonly bundle: readonly string[];
  readonly keyFile?: string;
  readonly trust?: string;
  readonly verbose?: boolean;
  readonly exact?: boolean;
}

/** What a replay of one file found. */
interface Result {
  readonly file: string;
  readonly captureId?: string;
  /** Where the scores were computed when the request was captured, and again. */
  readonly provider?: string;
  readonly precision?: string;
  readonly outcome: 'identical' | 'within_limit' | 'differs' | 'failed';
  readonly largestDifference?: number;
  readonly text: string;
  /** For --verbose. */
  readonly details: readonly string[];
}

/** Creates `ckv replay`. */
export function replayCommand(connections: Connections): Command {
  return new Command('replay')
    .description('compute the scores of captured requests again, and compare them with the captured scores')
    .argument('<files...>', 'captures that the ranking service wrote')
    .option(
      '--bundle <folder>',
      'folder of the bundle that scored; repeatable; default: fetch it from the pool service',
      (folder: string, before: readonly string[]) => [...before, folder],
      [],
    )
    .addOption(
      new Option('--key-file <file>', 'file of the keys of captures, as the ranking service had it').env(
        'CKV_CAPTURE_KEY_FILE',
      ),
    )
    .addOption(
      new Option('--trust <files>', 'PEM files with ed25519 public keys: one must have signed the bundle').env(
        'CKV_BUNDLE_TRUST',
      ),
    )
    .option('--exact', 'fail also if a score differs within the limit')
    .option('--verbose', 'print what differs')
    .addHelpText(
      'after',
      `
Exit status 0: all scores are identical, or differ by at most ${LIMIT}. With --exact: all are identical bit for bit.
Exit status 1: scores differ by more, or a capture cannot be replayed.`,
    )
    .action(async (files: readonly string[], options: Options) => {
      const path = options.keyFile;
      const keys =
        path === undefined
          ? []
          : captureKeysIn({ field: '--key-file', path }, readNamedFile({ field: '--key-file', path }));
      const trust = followBundleTrust({ field: '--trust', paths: options.trust ?? '' });
      const bundles = await openReplayBundles(connections, options.bundle, trust);
      const results: Result[] = [];
      try {
        for (const file of files) {
          const result = await replayFile(file).catch((thrown): Result => {
            const { message } = toCkvError(thrown);
            const text = message.startsWith(`${file}: `) ? message.slice(file.length + 2) : message;
            return { file, outcome: 'failed', text, details: [] };
          });
          results.push(result);
        }
      } finally {
        await bundles.close();
        trust?.close();
      }
      const isFine = ({ outcome }: Result) =>
        outcome === 'identical' || (outcome === 'within_limit' && options.exact !== true);
      if (!results.every(isFine)) process.exitCode = 1;
      const shown = results.map(({ details, ...result }) => (options.verbose ? { ...result, details } : result));
      connections.print(shown, () => linesOf(results, options.verbose ?? false).join('\n'));

      async function replayFile(file: string): Promise<Result> {
        const content = await contentOf(file);
        const capture = readCapture(file, openCapture(file, content, keys));
        return resultOf(file, capture, await replayCapture(capture, await bundles.load(capture)));
      }
    });
}

/** Reads a capture. Throws invalid_request if it cannot be read, or is too large. */
async function contentOf(file: string): Promise<Buffer> {
  const remedy = 'name a capture that the ranking service wrote';
  const { size } = await stat(file).catch((cause) => cannotBeRead(file, cause, remedy));
  if (size > MAX_FILE_BYTES) {
    throw invalidRequest(file, `has ${size} bytes, a capture has at most ${MAX_FILE_BYTES}`, remedy);
  }
  return readFile(file).catch((cause) => cannotBeRead(file, cause, remedy));
}

/** Bundles for replays. Each is loaded once. */
interface ReplayBundles {
  load(capture: Capture): Promise<LoadedBundle>;
  close(): Promise<void>;
}

async function openReplayBundles(
  connections: Connections,
  folders: readonly string[],
  trust: BundleTrust | undefined,
): Promise<ReplayBundles> {
  const given = new Map<string, string>(); // folders by bundle id
  for (const folder of folders) given.set(bundleIdOf(await readManifestBytes(folder)), folder);
  const engines = new Map<string, Promise<Engine>>();
  const loaded = new Map<string, Promise<LoadedBundle>>();
  let cacheDir: string | undefined;
  let cudaPrecision: Capture['environment']['precision'] | undefined;

  async function folderOf(bundleId: string): Promise<string> {
    const folder = given.get(bundleId);
    if (folder !== undefined) return folder;
    cacheDir ??= await mkdtemp(join(tmpdir(), 'ckv-replay-'));
    const limits = { deadlineMs: steadyNowMs() + 600_000 };
    const fetch = () => connections.pool().stream('FetchBundle', { bundleId }, limits);
    return installBundle({ bundleId, cacheDir, fetch, trust });
  }

  function engineOf({ provider, precision, threadsPerWorker }: Capture['environment']): Promise<Engine> {
    if (provider === 'cuda') cudaPrecision ??= precision;
    if (provider === 'cuda' && precision !== cudaPrecision) {
      const problem = `is ${precision}, that of an earlier file is ${cudaPrecision}, and a process has one for cuda`;
      throw invalidRequest('precision', problem, 'replay the files of each precision by a command of their own');
    }
    const key = `${provider} ${precision} ${threadsPerWorker}`;
    const options = { provider, precision, workerCount: 1, threadsPerWorker, queueLimit: 10_000 };
    const engine = engines.get(key) ?? createEngine(options);
    engines.set(key, engine);
    return engine;
  }

  return {
    load(capture) {
      const { bundleId, environment } = capture;
      const { provider, precision, threadsPerWorker, poolMode } = environment;
      const key = [bundleId, provider, precision, threadsPerWorker, poolMode].join(' ');
      const load = async () => {
        const [dir, engine] = [await folderOf(bundleId), await engineOf(environment)];
        return loadBundle(dir, engine, { ...replayNeeds(capture), verifyGolden: false, trust });
      };
      const bundle = loaded.get(key) ?? load();
      loaded.set(key, bundle);
      return bundle;
    },
    async close() {
      for (const bundle of loaded.values()) await bundle.then(({ close }) => close()).catch(() => undefined);
      for (const engine of engines.values()) await engine.then(({ close }) => close()).catch(() => undefined);
      if (cacheDir !== undefined) await rm(cacheDir, { recursive: true, force: true });
    },
  };
}

function resultOf(file: string, capture: Capture, replayed: Replayed): Result {
  const { captureId, environment, answer: captured } = capture;
  const { provider, precision } = environment;
  const about = { file, captureId, provider, precision };
  const { identical, largestDifference, largestAt, differingCount, answer } = replayed;
  const count = captured.scores.length;
  const details = environmentDetails(capture);
  if (answer.positionCount !== captured.positionCount) {
    details.push(`positions: ${captured.positionCount} then, ${answer.positionCount} now`);
  }
  if (answer.rung !== captured.rung) details.push(`rung: ${captured.rung} then, ${answer.rung} now`);
  if (identical) {
    return {
      ...about,
      outcome: 'identical',
      largestDifference,
      text: `identical, ${counted(count, 'score')}`,
      details,
    };
  }
  const [then, now] = [captured.scores[largestAt], answer.scores[largestAt]];
  details.push(`candidate ${capture.query.candidateIds.at(largestAt)}: score ${then} then, ${now} now`);
  const outcome = largestDifference <= LIMIT ? 'within_limit' : 'differs';
  const text = `different scores: ${differingCount} of ${count}, by ${largestDifference.toExponential(2)} at most (limit ${LIMIT})`;
  return { ...about, outcome, largestDifference, text, details };
}

/** Returns where the scores are computed, then and now, and what is not as it was when the request was captured. */
function environmentDetails({ environment }: Capture): string[] {
  const { provider, precision, threadsPerWorker, poolMode } = environment;
  const now = environmentOf({
    CKV_PROVIDER: provider,
    CKV_PRECISION: precision,
    CKV_THREADS_PER_WORKER: threadsPerWorker,
    CKV_POOL_MODE: poolMode,
  });
  const differing = (['service', 'onnxruntime', 'processor'] as const).flatMap((name) =>
    environment[name] === now[name] ? [] : [`${name}: ${environment[name]} then, ${now[name]} now`],
  );
  return [`computed by ${provider}, ${precision}`, ...differing];
}

function linesOf(results: readonly Result[], verbose: boolean): string[] {
  const lines = results.flatMap(({ file, text, details }) => [
    `${basename(file)}: ${text}`,
    ...(verbose ? details.map((detail) => `  ${detail}`) : []),
  ]);
  const count = (outcome: Result['outcome']) => results.filter((one) => one.outcome === outcome).length;
  const largest = Math.max(0, ...results.map(({ largestDifference = 0 }) => largestDifference));
  const counts = `${count('identical')} identical, ${count('within_limit')} within the limit, ${count('differs')} beyond it, ${count('failed')} failed`;
  return [...lines, `${counted(results.length, 'capture')}: ${counts}; largest difference ${largest}`];
}
