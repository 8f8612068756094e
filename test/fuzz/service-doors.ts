import { connectionsDoor } from './doors/connections.js';
import { jobsDoor } from './doors/jobs.js';
import { recordsDoor } from './doors/records.js';
import { requestsDoor } from './doors/requests.js';
import { tokensDoor } from './doors/tokens.js';
import { type OpenDoor, openDoor } from './run-door.js';
import type { ServicesUnderFuzz } from './services-under-fuzz.js';

/** Doors of running services. */
export const SERVICE_DOORS = {
  requests: async (services) => openDoor(requestsDoor(services)),
  connections: async (services) => openDoor(connectionsDoor(services)),
  tokens: async (services) => openDoor(await tokensDoor(services)),
  records: async (services) => openDoor(recordsDoor(services)),
  jobs: async (services) => openDoor(jobsDoor(services)),
} satisfies Record<string, (services: ServicesUnderFuzz) => Promise<OpenDoor>>;

/** Name of a door in {@link SERVICE_DOORS}. */
export type ServiceDoorName = keyof typeof SERVICE_DOORS;
