// A preload of a service: `node --import shifted-clock.js`. Its clock is ahead of the machine's by as many ms as the
// file of CHAOS_CLOCK says. SIGUSR2 makes it read the file again: the clock jumps.
import { readFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

const MachineDate = Date;
const file = process.env.CHAOS_CLOCK ?? '';
let aheadMs = 0;
const nowMs = () => MachineDate.now() + aheadMs;

function read(): void {
  try {
    aheadMs = Number(readFileSync(file, 'utf8'));
  } catch {
    aheadMs = 0; // no file yet: the clock is right
  }
}

read();
if (isMainThread) process.on('SIGUSR2', read);
globalThis.Date = new Proxy(MachineDate, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [nowMs()] : args, newTarget),
  apply: () => new MachineDate(nowMs()).toString(),
  get: (target, key) => (key === 'now' ? nowMs : Reflect.get(target, key)),
});
