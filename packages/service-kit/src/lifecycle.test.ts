import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { afterEach, expect, it } from 'vitest';

const KIT = createRequire(import.meta.url).resolve('@collectivekv/service-kit');
/** A service that gets SIGTERM while it connects or while its server starts. Then it goes on with its start. */
const serviceSignalledIn = (step: 'connect' | 'listen') => `
  import { commonConfig, parseConfig, runService } from ${JSON.stringify(KIT)};
  import { z } from ${JSON.stringify(createRequire(import.meta.url).resolve('zod'))};
  const schema = z.object(commonConfig({ port: 0 }));
  await runService({
    name: 'test',
    config: () => parseConfig(schema, { CKV_METRICS_BIND: '127.0.0.1:0', CKV_DRAIN_DELAY_MS: '200' }),
    async start(config, { onClose, server, setReady }) {
      onClose('part', () => console.error('part closed'));
      const getSignal = async () => {
        const signalled = new Promise((resolve) => process.once('SIGTERM', resolve));
        process.kill(process.pid, 'SIGTERM');
        await signalled;
      };
      const { start } = server;
      server.start = async () => {
        const listening = await start();
        if ('${step}' === 'listen') await getSignal();
        return listening;
      };
      if ('${step}' === 'connect') await getSignal();
      setReady(true);
    },
  });
`;

let child: ChildProcess | undefined;
afterEach(() => child?.kill('SIGKILL'));

it.each([
  ['its parts connect', 'connect'],
  ['its server starts', 'listen'],
] as const)('does not become ready if SIGTERM comes while %s, and closes its parts', async (_, step) => {
  const service = serviceSignalledIn(step);
  child = spawn(process.execPath, ['--input-type=module', '-e', service], { stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.on('data', (chunk) => {
      output[name] += chunk;
    });
  }
  const [code] = await once(child, 'close');
  expect(output.stdout).toBe('');
  expect(output.stderr).toContain('part closed');
  expect(code).toBe(0);
});
