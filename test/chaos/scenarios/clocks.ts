import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { SERVICE_NAMES, type ServiceProcess, startServiceProcess } from '@collectivekv/dev-stack';
import type { FleetSpec } from '../fleet/fleet.js';
import type { Scenario } from '../scenario.js';

const PRELOAD = new URL('../faults/shifted-clock.js', import.meta.url).href;
/** How far a clock is set, s. */
const JUMPS_S = [10, -10, 86_400, -86_400] as const;

/** Files of the clocks of the fleet that runs. */
const clockFiles = new Map<ServiceProcess, string>();

const startProcess: NonNullable<FleetSpec['startProcess']> = async (options, replica) => {
  const file = join(dirname(options.logFile), `${options.name}-${replica}.clock`);
  const env = { ...options.env, NODE_OPTIONS: `--import=${PRELOAD}`, CHAOS_CLOCK: file };
  const service = await startServiceProcess({ ...options, env });
  clockFiles.set(service, file);
  return service;
};

/** Sets the clock of a service: it jumps. */
async function setClock(service: ServiceProcess, aheadS: number): Promise<void> {
  await writeFile(clockFiles.get(service) ?? '', String(aheadS * 1_000));
  process.kill(service.pid, 'SIGUSR2');
}

/** The clocks of the services are wrong, and jump under load. Everything is compared while they are wrong. */
export const clocks: Scenario = {
  name: 'clocks',
  about: 'The clock of a service jumps by 10 s or a day, ahead or back, stays there, and jumps back.',
  fleet: { startProcess },
  async run({ fleet, random, quick, backends, fault }) {
    const jumps = SERVICE_NAMES.flatMap((name) =>
      fleet.services[name].flatMap((service, i) => JUMPS_S.map((jumpS) => ({ name, service, i, jumpS }))),
    );
    const all = random.shuffle(jumps);
    for (const { name, service, i, jumpS } of quick ? all.slice(0, 4) : all) {
      await fault(`the clock of ${name} ${i} jumps by ${jumpS} s`, async () => {
        await backends.untilAccepted(40);
        await setClock(service, jumpS);
        await backends.untilAccepted(100);
      });
      await setClock(service, 0);
    }
    await fault('every clock is wrong by another amount', async () => {
      const services = SERVICE_NAMES.flatMap((name) => fleet.services[name]);
      for (const service of services) await setClock(service, random.pick(JUMPS_S));
      await backends.untilAccepted(400);
    });
  },
};
