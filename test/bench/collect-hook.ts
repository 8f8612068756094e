// Node's `--import` loads this file into a service. Each SIGUSR2 collects the garbage of the main thread.
import { Session } from 'node:inspector';
import { isMainThread } from 'node:worker_threads';

if (isMainThread) {
  const session = new Session();
  session.connect();
  process.on('SIGUSR2', () => session.post('HeapProfiler.collectGarbage'));
}
