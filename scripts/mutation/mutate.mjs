// `npm run mutate -- PATH…`: breaks the code of a package in many small ways (mutants) and counts how many of them its
// tests notice.
//
//    npm run mutate -- packages/domain                  one package; its row in docs/testing.md is written afterwards
//    npm run mutate -- packages/domain/src/record       a part of it: files or folders of one package
//    npm run mutate -- packages/domain --report         prints the last verdicts and writes the row, without a run
//    npm run mutate -- packages/domain --force          tests every mutant again
//
// Verdicts are kept in .ckv/mutation. A later run tests only the mutants of changed lines and those that changed tests
// cover.
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { bin, ensureInstalled, root, run } from '../workspace.mjs';

/** The packages whose scores docs/testing.md shows. */
const PACKAGES = [
  'packages/domain',
  'packages/user-store',
  'packages/update-queue',
  'services/updater',
  'services/ranking',
];
/** Declarations and wiring; docs/testing.md gives the reasons. */
const EXCLUDED = /\.(test|contract|fixture)\.ts$|\/(index|main|config|metrics)\.ts$|\/generated\//;
/** Folders that no test of a package reads. */
const NOT_COPIED = ['.ckv', '.turbo', '.venv', '.ci', '**/dist', 'training', 'test/bench', 'test/e2e', 'scripts'];
const PAGE = 'docs/testing.md';
const HERE = join(root, 'scripts', 'mutation');
const NOTICED = ['Killed', 'Timeout'];
const UNNOTICED = ['Survived', 'NoCoverage'];

const options = process.argv.slice(2).filter((arg) => arg.startsWith('--'));
const paths = process.argv.slice(2).flatMap((arg) => (arg.startsWith('--') ? [] : relative(root, resolve(arg))));
const name = PACKAGES.find((one) => paths.length > 0 && paths.every((path) => `${path}/`.startsWith(`${one}/`)));
if (!name && paths.length > 0 && options.every((option) => ['--report', '--force'].includes(option))) {
  console.error(
    `${paths.join(', ')}: is not measured (docs/testing.md says why); give paths in one of ${PACKAGES.join(', ')}`,
  );
  process.exit(2);
}
if (!name || options.some((option) => !['--report', '--force'].includes(option))) {
  console.error(`usage: npm run mutate -- PATH… [--report | --force], with paths in one of ${PACKAGES.join(', ')}`);
  process.exit(2);
}
const verdicts = join(root, '.ckv', 'mutation', `${name.replace('/', '-')}.json`);
if (!options.includes('--report')) await mutate();
report();

async function mutate() {
  await ensureInstalled();
  if (!existsSync(join(HERE, 'node_modules'))) {
    console.log('installing the mutation tester');
    await run('npm ci', 'npm', ['ci', '--prefix', HERE, '--legacy-peer-deps', '--no-audit', '--no-fund']);
  }
  await run('build', bin('turbo'), ['run', 'build', '--output-logs=errors-only']);
  mkdirSync(join(root, '.ckv', 'mutation'), { recursive: true });
  const { Stryker } = await import('@stryker-mutator/core');
  await new Stryker({
    mutate: paths.flatMap(sourcesIn),
    testRunner: 'vitest-files',
    plugins: [join(HERE, 'vitest-runner.mjs'), join(HERE, 'ignore-texts.mjs')],
    ignorers: ['texts'],
    incremental: true,
    force: options.includes('--force'),
    incrementalFile: verdicts,
    concurrency: Number(process.env.CKV_MUTATION_PROCESSES ?? 2),
    reporters: ['progress-append-only'],
    tempDirName: '.ckv/mutation/sandbox',
    ignorePatterns: NOT_COPIED,
    tsconfigFile: 'none', // Stryker would rewrite it with a parser that TypeScript 7 does not have
    timeoutMS: 10_000,
    warnings: { slow: false },
  }).runMutationTest();
}

/** Returns the files to mutate in a file or folder. */
function sourcesIn(path) {
  if (!existsSync(path)) throw new Error(`${path} does not exist`);
  if (!statSync(path).isDirectory()) return [path];
  const folder = path === name ? `${name}/src` : path;
  const files = readdirSync(folder, { recursive: true }).map((file) => `${folder}/${file}`);
  return files.filter((file) => file.endsWith('.ts') && !EXCLUDED.test(file));
}

function report() {
  if (!existsSync(verdicts)) {
    console.error(`there are no verdicts of ${name} yet: run npm run mutate -- ${name} first`);
    process.exit(2);
  }
  const { files } = JSON.parse(readFileSync(verdicts, 'utf8'));
  const counts = Object.entries(files)
    .filter(([file]) => existsSync(file) && paths.some((path) => `${file}/`.startsWith(`${path}/`)))
    .map(([file, { mutants }]) => {
      const countOf = (statuses) => mutants.filter(({ status }) => statuses.includes(status)).length;
      return { file, mutants, noticed: countOf(NOTICED), unnoticed: countOf(UNNOTICED) };
    });
  for (const { file, mutants, noticed, unnoticed } of counts) {
    console.log(`${file}: ${noticed} of ${noticed + unnoticed}`);
    for (const { location, status, mutatorName, replacement } of mutants) {
      if (!UNNOTICED.includes(status)) continue;
      const { line, column } = location.start;
      console.log(`  ${line}:${column} ${status} ${mutatorName} ${replacement?.replace(/\s+/g, ' ').slice(0, 100)}`);
    }
  }
  const sum = (field) => counts.reduce((total, count) => total + count[field], 0);
  const [noticed, total] = [sum('noticed'), sum('noticed') + sum('unnoticed')];
  console.log(`${paths.join(', ')}: ${noticed} of ${total} mutants noticed, ${((100 * noticed) / total).toFixed(1)} %`);
  if (paths.includes(name)) writeRow(noticed, total);
}

/** Writes the package's row of the table in docs/testing.md; the other rows stay. */
function writeRow(noticed, total) {
  const text = readFileSync(PAGE, 'utf8');
  const from = text.indexOf('\n', text.indexOf('<!-- mutation:begin')) + 1;
  const to = text.indexOf('<!-- mutation:end -->');
  const kept = [...text.slice(from, to).matchAll(/^\| `(\S+)` \|.*$/gm)].filter((match) => match[1] !== name);
  const rows = new Map(kept.map((match) => [match[1], match[0]]));
  rows.set(name, `| \`${name}\` | ${total} | ${noticed} | ${((100 * noticed) / total).toFixed(1)} % |`);
  const lines = PACKAGES.flatMap((one) => rows.get(one) ?? []);
  const table = ['| package | mutants | noticed | score |', '|---|---|---|---|', ...lines].join('\n');
  writeFileSync(PAGE, `${text.slice(0, from)}${table}\n${text.slice(to)}`);
}
