import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import type { ParserSurfaceName } from './parser-surfaces.js';
import { HANG_MS, type RunOptions } from './run-surface.js';
import type { SurfaceResult } from './surface.js';

const CHILD = createRequire(import.meta.url).resolve('@collectivekv/test-fuzz/apart');
/** Most memory that a parser may keep after the warm-up, MB. */
const MAX_GROWTH_MB = 16;
/** Bound of the child's heap, MB. An input that needs more is a fault. */
const HEAP_MB = 768;
/** Start of the child, and search for a smaller input. */
const SLACK_MS = 90_000;

type Report =
  | { readonly inputs: number }
  | {
      readonly first: SurfaceResult;
      readonly rest: SurfaceResult;
      readonly beforeMb: number;
      readonly afterMb: number;
    };

/** Attacks a parser in a process of its own, so that a crash, a hang and exhausted memory are seen. */
export async function runApart(
  name: ParserSurfaceName,
  { seed, count, onProgress }: RunOptions,
): Promise<SurfaceResult> {
  const execArgv = [`--max-old-space-size=${HEAP_MB}`];
  const child = fork(CHILD, [name, String(seed), String(count)], {
    execArgv,
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  });
  let errors = '';
  child.stderr?.on('data', (chunk) => {
    errors = `${errors}${chunk}`.slice(-4_000);
  });
  let reached = 0;
  let hung = false;
  let result: SurfaceResult | undefined;
  const onHang = () => {
    hung = true;
    child.kill('SIGKILL');
  };
  const watchdog = setTimeout(onHang, HANG_MS + SLACK_MS);
  child.on('message', (report: Report) => {
    watchdog.refresh();
    if ('inputs' in report) {
      reached = report.inputs;
      onProgress?.(reached);
    } else result = joined(report);
  });
  const [code, signal] = await once(child, 'exit');
  clearTimeout(watchdog);
  if (result) return result;
  const why = hung ? 'hang' : `crash (${signal ?? `exit code ${code}`})`;
  const base = { surface: name, inputs: reached, refused: 0, accepted: 0, validChecks: 0 };
  return { ...base, fault: `${why} within 50 inputs after input ${reached} of seed ${seed} or ${seed + 1}\n${errors}` };
}

function joined({ first, rest, beforeMb, afterMb }: Extract<Report, { first: unknown }>): SurfaceResult {
  const growthMb = afterMb - beforeMb;
  const grown = growthMb > MAX_GROWTH_MB ? `growth: ${growthMb.toFixed(1)} MB after the warm-up` : undefined;
  const fault = first.fault ?? rest.fault ?? grown;
  return {
    surface: rest.surface,
    inputs: first.inputs + rest.inputs,
    refused: first.refused + rest.refused,
    accepted: first.accepted + rest.accepted,
    validChecks: first.validChecks + rest.validChecks,
    ...(fault === undefined ? {} : { fault }),
  };
}
