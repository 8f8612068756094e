// `node scripts/guard.mjs COMMAND [ARGUMENT…]` runs a command until standard input closes. Then it ends the command and
// everything that the command started. So nothing outlives the script that holds the other end, even after kill -9.
import { spawn } from 'node:child_process';

const FORCE_AFTER_MS = 1_000;

const [command, ...args] = process.argv.slice(2);
const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'], detached: true });
const signalGroup = (signal) => {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // the group has ended
  }
};
const end = () => {
  signalGroup('SIGTERM');
  setTimeout(() => signalGroup('SIGKILL'), FORCE_AFTER_MS);
};
child.on('error', (error) => {
  console.error(error.message);
  process.exit(127);
});
child.on('exit', (code) => process.exit(code ?? 1));
process.stdin.on('end', end).resume();
process.on('SIGTERM', end);
// A terminal signals every process of the foreground; the script decides when to end.
for (const signal of ['SIGINT', 'SIGHUP']) process.on(signal, () => undefined);
