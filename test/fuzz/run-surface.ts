import fc from 'fast-check';
import type { Surface, SurfaceResult, Verdict } from './surface.js';

/** Options of {@link runSurface}. */
export interface RunOptions {
  readonly seed: number;
  /** Number of malformed inputs. */
  readonly count: number;
  /** Called now and then with the number of inputs so far. */
  readonly onProgress?: (inputs: number) => void;
}

/** Malformed inputs between two valid ones. */
const CHECK_EVERY = 25;
const PROGRESS_EVERY = 50;
/** Longest search for a smaller input. */
const SHRINK_MS = 60_000;
/** Longest time for one input. A surface that takes longer hangs. */
export const HANG_MS = 60_000;

/** A surface whose type of input does not matter any more. */
export interface OpenSurface {
  attack(options: RunOptions): Promise<SurfaceResult>;
  close(): Promise<void>;
}

/** Opens a surface for {@link runSurface}. */
export function openSurface<Input>(surface: Surface<Input>): OpenSurface {
  return {
    attack: (options) => runSurface(surface, options),
    close: async () => surface.close?.(),
  };
}

/**
 * Sends malformed inputs to a surface, and valid ones in between. Stops at the first fault and looks for a smaller
 * input.
 */
async function runSurface<Input>(
  surface: Surface<Input>,
  { seed, count, onProgress }: RunOptions,
): Promise<SurfaceResult> {
  const verdicts: Record<Verdict, number> = { refused: 0, accepted: 0 };
  let inputs = 0;
  let validChecks = 0;
  let failedMs = Number.POSITIVE_INFINITY;
  const property = fc.asyncProperty(surface.inputs, async (input) => {
    if (Date.now() - failedMs > SHRINK_MS) return; // the smallest input so far is the answer
    try {
      verdicts[await withinTime(surface.judge(input), 'the input')]++;
      inputs++;
      if (inputs % PROGRESS_EVERY === 0) onProgress?.(inputs);
      if (inputs % CHECK_EVERY !== 0 && failedMs === Number.POSITIVE_INFINITY) return;
      await withinTime(surface.stillRight(), 'the valid input after it');
      validChecks++;
    } catch (error) {
      failedMs = Math.min(failedMs, Date.now()); // while a smaller input is looked for, each is followed by a valid one
      throw error;
    }
  });
  const examples = (surface.found ?? []).map((input): [Input] => [input]);
  const details = await fc.check(property, { seed, numRuns: count + examples.length, examples });
  const result = { surface: surface.name, inputs, ...verdicts, validChecks };
  if (!details.failed) return result;
  return {
    ...result,
    fault: `${String(details.errorInstance)}\nsmallest input: ${shown(details.counterexample?.[0])}`,
  };
}

/** Returns an input as text that can be pasted into a test. */
function shown(input: unknown): string {
  if (input instanceof Uint8Array) return `Buffer.from('${Buffer.from(input).toString('base64')}', 'base64')`;
  return fc.stringify(input).slice(0, 4_000);
}

async function withinTime<T>(work: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`hang: ${what} got no answer in ${HANG_MS} ms`)), HANG_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
