// `npm test`: installs if necessary, builds, runs all checks and tests, and ends with `N passed, N failed`. Arguments
// go to vitest.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { bin, ensureInstalled, root, run, runOrExit } from './workspace.mjs';

const REPORT = '.ckv/vitest.json';

/** Checks before the tests: a name, a command and its arguments. A check counts as one test. */
const CHECKS = [
  ['formatting, lint and import rules', bin('biome'), ['check', '--error-on-warnings', '.']],
  ['proto lint', bin('buf'), ['lint']],
  ['documentation from code', process.execPath, ['scripts/write-docs.mjs', '--check']],
  ['licences and digests of packages', process.execPath, ['scripts/check-packages.mjs']],
  ['prose, links and paths', process.execPath, ['scripts/check-prose.mjs', '--code']],
];

await ensureInstalled();
await runOrExit('build', bin('turbo'), ['run', 'build', '--output-logs=errors-only']);

let passed = 1; // the build
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
// A crash, or a file that cannot be loaded, has no failed test. It counts as failed, too.
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
