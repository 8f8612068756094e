// Assembles src/graphs/row-sums.wat and writes the bytes to src/generated/row-sums.ts.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import loadWabt from 'wabt';

const src = join(dirname(dirname(fileURLToPath(import.meta.url))), 'src');
const wabt = await loadWabt();
const module = wabt.parseWat('row-sums.wat', readFileSync(join(src, 'graphs', 'row-sums.wat'), 'utf8'));
module.validate();
const base64 = Buffer.from(module.toBinary({}).buffer).toString('base64');
mkdirSync(join(src, 'generated'), { recursive: true });
writeFileSync(
  join(src, 'generated', 'row-sums.ts'),
  `/** The assembled src/graphs/row-sums.wat. */\nexport const ROW_SUMS = '${base64}';\n`,
);
