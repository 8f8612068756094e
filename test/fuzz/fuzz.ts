// `npm run fuzz`: sends malformed input to every surface, prints a table, and writes test/fuzz/results/latest.json.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './fixture-bundles.js';
import { runFuzz, SURFACE_NAMES, type SurfaceName } from './run-fuzz.js';

const USAGE = `npm run fuzz -- [--count N] [--seed N] [--surface NAME]…

  --count    malformed inputs, about; default 102000
  --seed     repeats a run; default: a new seed
  --surface  attacks this surface alone; repeatable: ${SURFACE_NAMES.join(', ')}`;

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '102000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    surface: { type: 'string', multiple: true },
    help: { type: 'boolean', default: false },
  },
});
const [count, seed] = [Number(values.count), Number(values.seed)];
const unknown = values.surface?.filter((name) => !SURFACE_NAMES.includes(name as SurfaceName)) ?? [];
if (values.help || !Number.isInteger(count) || !Number.isInteger(seed) || unknown.length > 0) {
  console.log(USAGE);
  process.exit(values.help ? 0 : 2);
}

console.log(`seed ${seed}`);
const results = await runFuzz({
  seed,
  count,
  ...(values.surface ? { surfaces: values.surface as SurfaceName[] } : {}),
  onProgress: (message) => console.log(message),
});
console.table(
  results.surfaces.map(({ surface, inputs, refused, accepted, validChecks }) => ({
    surface,
    inputs,
    refused,
    accepted,
    validChecks,
  })),
);
console.log(`${results.inputs.toLocaleString('en')} malformed inputs, ${results.faults.length} faults`);
for (const fault of results.faults) console.error(fault);
if (!values.surface) {
  const dir = join(ROOT, 'test', 'fuzz', 'results');
  mkdirSync(dir, { recursive: true });
  writeFileSync(
    join(dir, 'latest.json'),
    `${JSON.stringify({ date: new Date().toISOString(), ...results }, null, 2)}\n`,
  );
}
process.exit(results.faults.length === 0 ? 0 : 1);
