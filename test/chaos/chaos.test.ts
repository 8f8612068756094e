// The scenarios of `npm run chaos -- --quick`: processes die and stall, and writes come late.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const CHAOS = fileURLToPath(new URL('./dist/chaos.js', import.meta.url));

it('breaks no promise', async () => {
  const child = spawn(process.execPath, [CHAOS, '--quick'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk;
    });
  }
  const [code] = await once(child, 'exit');
  console.log(output.split('\n')[0]); // the seed
  expect(code, output).toBe(0);
}, 600_000);
