/**
 * `node guard.js COMMAND [ARGUMENT…]` runs a command until standard input closes, so that a server never outlives the
 * process that started it. Prints `guard: pid N` on stdout, among the command's own output.
 */
import { spawn } from 'node:child_process';
import { writeSync } from 'node:fs';

const ASK_AGAIN_MS = 250;

const [command = '', ...args] = process.argv.slice(2);
const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'] });
/** Asks again until the server ends: Redis refuses to end while it writes its first append-only file. */
function end(): void {
  child.kill('SIGTERM');
  child.kill('SIGCONT'); // a test may have stopped the server
  setTimeout(end, ASK_AGAIN_MS);
}

child.on('spawn', () => writeSync(1, `guard: pid ${child.pid}\n`));
child.on('error', (error) => {
  writeSync(2, `${error.message}\n`);
  process.exit(127);
});
child.on('exit', (code, signal) => process.exit(signal ? 1 : (code ?? 1)));
process.stdin.on('end', end).resume();
process.on('SIGTERM', end);
// A terminal signals every process of the foreground; the parent decides when to end.
for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined);
