import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { FloodPlan, FloodResult } from './plan.js';

/** The built load generator, also for a caller that was not built. */
const GENERATOR = fileURLToPath(new URL('./flood.js', import.meta.url)).replace(
  '/test/bench/flood/',
  '/test/bench/dist/flood/',
);

/** Floods a server from a process of its own. */
export async function runFlood(plan: FloodPlan): Promise<FloodResult> {
  const child = fork(GENERATOR, { serialization: 'advanced' });
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the load generator ended with exit code ${code}; its error output is above`);
  });
  child.send(plan);
  const [result] = await Promise.race([once(child, 'message'), ended]);
  ended.catch(() => undefined); // it ends when it is disconnected
  child.disconnect();
  return result as FloodResult;
}
