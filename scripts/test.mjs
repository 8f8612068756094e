// `npm test`: installs what is missing, builds, then runs every check and ends with `N passed, N failed`.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { bin, ensureInstalled, root, run } from './workspace.mjs';

const REPORT = '.ckv/vitest.json';

/** Each check counts as one test; vitest's own tests are counted one by one. */
const CHECKS = [
  ['formatting, lint and import rules', bin('biome'), ['check', '--error-on-warnings', '.']],
  ['proto lint', bin('buf'), ['lint']],
  ['documentation from code', process.execPath, ['scripts/write-docs.mjs', '--check']],
];

await ensureInstalled();
await run('build', bin('turbo'), ['run', 'build', '--output-logs=errors-only']);

let passed = 1;
let failed = 0;
for (const [name, command, args] of CHECKS) {
  const ok = await run(name, command, args).then(
    () => true,
    () => false,
  );
  console.log(`${ok ? 'ok' : 'FAILED'}  ${name}`);
  if (ok) passed++;
  else failed++;
}

mkdirSync('.ckv', { recursive: true });
rmSync(REPORT, { force: true });
const vitestArgs = [
  'run',
  '--reporter=default',
  '--reporter=json',
  `--outputFile.json=${REPORT}`,
  ...process.argv.slice(2),
];
const exitCode = await new Promise((resolve) => {
  spawn(bin('vitest'), vitestArgs, { cwd: root, stdio: 'inherit' }).on('exit', resolve);
});
const report = readReport();
passed += report.numPassedTests;
failed += report.numFailedTests;
// A suite that does not even load, or a crash, has no failed test of its own.
if (exitCode !== 0 && report.numFailedTests === 0) failed += Math.max(1, report.numFailedTestSuites);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

function readReport() {
  try {
    return JSON.parse(readFileSync(REPORT, 'utf8'));
  } catch {
    return { numPassedTests: 0, numFailedTests: 0, numFailedTestSuites: 1 };
  }
}
