// `npm start`: installs and builds if necessary, then runs the quickstart. See `npm start -- --help`.
import { spawn } from 'node:child_process';
import { bin, ensureInstalled, root, run } from './workspace.mjs';

await ensureInstalled();
console.log('building');
await run('build', bin('turbo'), ['run', 'build', '--output-logs=errors-only']);
const quickstart = spawn(process.execPath, ['packages/dev-stack/dist/quickstart-main.js', ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
});
// The terminal sends SIGINT to both processes. The quickstart stops gracefully, and this script ends after it.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => quickstart.kill('SIGTERM'));
quickstart.on('exit', (code) => process.exit(code ?? 1));
