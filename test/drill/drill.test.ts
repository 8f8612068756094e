// The short arm of `npm run drill`: models are switched under load while processes are killed.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const DRILL = fileURLToPath(new URL('./dist/drill.js', import.meta.url));

it('switches models and encodings without a failed request, a cold answer, or a lost interaction', async () => {
  const child = spawn(process.execPath, [DRILL, '--quick'], { stdio: ['ignore', 'pipe', 'pipe'] });
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
