import { expect, it } from 'vitest';
import { createGuardOutput } from './guard-output.js';

it.each([
  ['ends inside the pid', ['guard: pid 12', '345\n']],
  ['has much more than the pid', [`guard: pid 12345\n${'0'.repeat(6_000)}\n`]],
  ['begins with lines of the server', ['starting\nready\nguard: pid 12345\nmore\n']],
])('finds the pid of the server if a chunk %s', async (_, chunks) => {
  const output = createGuardOutput();
  for (const chunk of chunks) output.add(Buffer.from(chunk));
  expect(await output.serverPid).toBe(12_345);
  expect(output.end.length).toBeLessThanOrEqual(4_000);
});
