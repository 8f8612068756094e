// `npm run audit`: asks the registry for known weaknesses of every locked package, those of development and of the site
// included. Fails for each that scripts/packages.json does not except with a reason. A machine without such a registry is
// not at fault: the script says in capitals that nothing was checked, and ends well.
import { spawnSync } from 'node:child_process';
import { LOCKED_FOLDERS, policy } from './packages.mjs';
import { root } from './workspace.mjs';

const advisories = new Map();
let isComplete = true;
for (const folder of LOCKED_FOLDERS) {
  const { stdout, stderr } = spawnSync('npm', ['audit', '--json', '--package-lock-only', '--audit=true'], {
    cwd: `${root}/${folder}`,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  const report = parsed(stdout);
  if (report?.vulnerabilities === undefined) {
    const lines = stderr.split('\n').filter((line) => line.startsWith('npm error'));
    const why = report?.message ?? lines[0] ?? 'no answer';
    console.log(`NOT CHECKED FOR KNOWN WEAKNESSES: the registry does not answer npm audit (${why})`);
    isComplete = false;
    continue;
  }
  for (const { name, via } of Object.values(report.vulnerabilities)) {
    for (const found of via) {
      if (typeof found === 'object') advisories.set(found.url.split('/').at(-1), { ...found, name });
    }
  }
}
const open = [...advisories].filter(([id]) => !policy.advisoryExceptions[id]);
for (const [id, { name, range, severity, title }] of open)
  console.error(`${name} ${range}: ${severity}, ${title} (${id})`);
if (!isComplete) process.exit(open.length === 0 ? 0 : 1);
for (const id of Object.keys(policy.advisoryExceptions)) {
  if (!advisories.has(id)) console.error(`${id}: nothing locked has this weakness any more; remove the exception`);
}
console.log(`${advisories.size} known weaknesses, ${open.length} without an exception`);
process.exit(open.length === 0 ? 0 : 1);

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
