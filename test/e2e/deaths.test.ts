// Processes are killed while interactions stream in. No interaction is lost or duplicated, and the order stays.
import { afterAll, beforeAll, it } from 'vitest';
import { startBackends } from './backends.js';
import { type E2eStack, startE2e } from './e2e-stack.js';

let e2e: E2eStack;
beforeAll(async () => {
  e2e = await startE2e({ replicas: { 'user-cache': 2, updater: 2 }, fsync: 'always' });
});
afterAll(() => e2e?.close());

const USERS = Array.from({ length: 20 }, (_, i) => `mortal-${i}`);
/** Interactions that must be accepted between two kills. */
const BETWEEN_KILLS = 400;

it('applies every accepted interaction once and in order although updaters, user-caches and Redis are killed', async () => {
  const backends = startBackends(e2e, USERS);
  const { updater, 'user-cache': userCache } = e2e.stack.services;
  const die = async (service: (typeof updater)[number] | undefined) => {
    await service?.kill();
    await service?.restart();
  };
  for (let round = 0; round < 2; round++) {
    await backends.untilMoreAccepted(BETWEEN_KILLS);
    await die(updater[round]);
    await backends.untilMoreAccepted(BETWEEN_KILLS);
    await die(userCache[round]);
    await backends.untilMoreAccepted(BETWEEN_KILLS);
    await e2e.stack.redis?.kill();
    await e2e.stack.restartRedis();
    await backends.untilMoreAccepted(BETWEEN_KILLS);
    await Promise.all([...updater, ...userCache].map(die)); // all at once
  }
  await backends.stopAndCheck();
}, 180_000);
