import fc from 'fast-check';
import type { Door, DoorResult, Verdict } from './door.js';

/** Options of {@link runDoor}. */
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
/** Longest time for one input. A door that takes longer hangs. */
export const HANG_MS = 60_000;

/** A door whose type of input does not matter any more. */
export interface OpenDoor {
  attack(options: RunOptions): Promise<DoorResult>;
  close(): Promise<void>;
}

/** Opens a door for {@link runDoor}. */
export function openDoor<Input>(door: Door<Input>): OpenDoor {
  return {
    attack: (options) => runDoor(door, options),
    close: async () => door.close?.(),
  };
}

/** Sends malformed inputs to a door, and valid ones in between. Stops at the first fault and looks for a smaller input. */
async function runDoor<Input>(door: Door<Input>, { seed, count, onProgress }: RunOptions): Promise<DoorResult> {
  const verdicts: Record<Verdict, number> = { refused: 0, accepted: 0 };
  let inputs = 0;
  let validChecks = 0;
  let failedMs = Number.POSITIVE_INFINITY;
  const property = fc.asyncProperty(door.inputs, async (input) => {
    if (Date.now() - failedMs > SHRINK_MS) return; // the smallest input so far is the answer
    try {
      verdicts[await withinTime(door.judge(input), 'the input')]++;
      inputs++;
      if (inputs % PROGRESS_EVERY === 0) onProgress?.(inputs);
      if (inputs % CHECK_EVERY !== 0 && failedMs === Number.POSITIVE_INFINITY) return;
      await withinTime(door.stillRight(), 'the valid input after it');
      validChecks++;
    } catch (error) {
      failedMs = Math.min(failedMs, Date.now()); // while a smaller input is looked for, each is followed by a valid one
      throw error;
    }
  });
  const examples = (door.found ?? []).map((input): [Input] => [input]);
  const details = await fc.check(property, { seed, numRuns: count + examples.length, examples });
  const result = { door: door.name, inputs, ...verdicts, validChecks };
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
