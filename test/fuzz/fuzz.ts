// `npm run fuzz`: sends malformed input to every door, prints a table, and writes test/fuzz/results/latest.json.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './fixture-bundles.js';
import { DOOR_NAMES, type DoorName, runFuzz } from './run-fuzz.js';

const USAGE = `npm run fuzz -- [--count N] [--seed N] [--door NAME]…

  --count  malformed inputs, about; default 105000
  --seed   repeats a run; default: a new seed
  --door   attacks this door alone; repeatable: ${DOOR_NAMES.join(', ')}`;

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '105000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    door: { type: 'string', multiple: true },
    help: { type: 'boolean', default: false },
  },
});
const [count, seed] = [Number(values.count), Number(values.seed)];
const unknown = values.door?.filter((name) => !DOOR_NAMES.includes(name as DoorName)) ?? [];
if (values.help || !Number.isInteger(count) || !Number.isInteger(seed) || unknown.length > 0) {
  console.log(USAGE);
  process.exit(values.help ? 0 : 2);
}

console.log(`seed ${seed}`);
const results = await runFuzz({
  seed,
  count,
  ...(values.door ? { doors: values.door as DoorName[] } : {}),
  onProgress: (message) => console.log(message),
});
console.table(
  results.doors.map(({ door, inputs, refused, accepted, validChecks }) => ({
    door,
    inputs,
    refused,
    accepted,
    validChecks,
  })),
);
console.log(`${results.inputs.toLocaleString('en')} malformed inputs, ${results.faults.length} faults`);
for (const fault of results.faults) console.error(fault);
if (!values.door) {
  const dir = join(ROOT, 'test', 'fuzz', 'results');
  mkdirSync(dir, { recursive: true });
  writeFileSync(
    join(dir, 'latest.json'),
    `${JSON.stringify({ date: new Date().toISOString(), ...results }, null, 2)}\n`,
  );
}
process.exit(results.faults.length === 0 ? 0 : 1);
