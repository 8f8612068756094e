// Node's `--import` loads this file into a service. The first SIGUSR2 starts a CPU profile of the main thread. The next
// SIGUSR2 writes the profile to the file that BENCH_PROFILE names.
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { isMainThread } from 'node:worker_threads';

const SAMPLING_US = 500;
const path = process.env.BENCH_PROFILE;

if (isMainThread && path) {
  const session = new Session();
  session.connect();
  let running = false;
  process.on('SIGUSR2', async () => {
    running = !running;
    if (running) {
      await session.post('Profiler.enable');
      await session.post('Profiler.setSamplingInterval', { interval: SAMPLING_US });
      await session.post('Profiler.start');
      return;
    }
    const { profile } = await session.post('Profiler.stop');
    writeFileSync(path, JSON.stringify(profile));
  });
}
