// `npm start`: installs and builds if necessary, then runs the quickstart. See `npm start -- --help`. Everything that
// it starts ends with it, and it ends with npm.
import { spawn, spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import { bin, ensureInstalled, root, runOrExit } from './workspace.mjs';

/** How often the script looks whether npm is still there. */
const WATCH_MS = 250;

let quickstart;
let ended = false;

/** Ends the quickstart, or the script itself if the quickstart does not run yet. Guards end the other commands. */
function end(exitCode) {
  if (ended) return;
  ended = true;
  if (quickstart) quickstart.kill('SIGTERM');
  else process.exit(exitCode);
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => end(128 + constants.signals[signal]));
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined); // the terminal was closed

// npm starts a shell that starts this script. If npm is killed, the shell may die or stay.
if (process.env.npm_lifecycle_event !== undefined) {
  const shell = process.ppid;
  const npm = Number(spawnSync('ps', ['-o', 'ppid=', '-p', String(shell)], { encoding: 'utf8' }).stdout) || shell;
  setInterval(() => {
    if (process.ppid !== shell || !isAlive(npm)) end(128 + constants.signals.SIGTERM);
  }, WATCH_MS).unref();
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

await ensureInstalled();
console.log('building');
await runOrExit('build', bin('turbo'), ['run', 'build', '--output-logs=errors-only']);
// Over the channel the quickstart notices if this script is killed.
quickstart = spawn(process.execPath, ['packages/dev-stack/dist/quickstart-main.js', ...process.argv.slice(2)], {
  cwd: root,
  stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
});
quickstart.on('exit', (code) => process.exit(code ?? 1));
