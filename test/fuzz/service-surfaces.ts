import { type OpenSurface, openSurface } from './run-surface.js';
import type { ServicesUnderFuzz } from './services-under-fuzz.js';
import { connectionsSurface } from './surfaces/connections.js';
import { jobsSurface } from './surfaces/jobs.js';
import { recordsSurface } from './surfaces/records.js';
import { requestsSurface } from './surfaces/requests.js';
import { tokensSurface } from './surfaces/tokens.js';

/** Surfaces of running services. */
export const SERVICE_SURFACES = {
  requests: async (services) => openSurface(requestsSurface(services)),
  connections: async (services) => openSurface(connectionsSurface(services)),
  tokens: async (services) => openSurface(await tokensSurface(services)),
  records: async (services) => openSurface(recordsSurface(services)),
  jobs: async (services) => openSurface(jobsSurface(services)),
} satisfies Record<string, (services: ServicesUnderFuzz) => Promise<OpenSurface>>;

/** Name of a surface in {@link SERVICE_SURFACES}. */
export type ServiceSurfaceName = keyof typeof SERVICE_SURFACES;
