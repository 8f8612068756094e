import { type OpenSurface, openSurface } from './run-surface.js';
import { bundleFilesSurface, graphsSurface } from './surfaces/bundle-files.js';
import { configurationsSurface } from './surfaces/configurations.js';
import { logsSurface } from './surfaces/logs.js';
import { manifestsSurface } from './surfaces/manifests.js';
import { redisUrlsSurface } from './surfaces/redis-urls.js';

/** Surfaces that are parsers of a library. Each runs in a process of its own. */
export const PARSER_SURFACES = {
  manifests: async () => openSurface(await manifestsSurface()),
  'bundle-files': async () => openSurface(await bundleFilesSurface()),
  graphs: async () => openSurface(await graphsSurface()),
  logs: async () => openSurface(await logsSurface()),
  'redis-urls': async () => openSurface(redisUrlsSurface()),
  configurations: async () => openSurface(configurationsSurface()),
} satisfies Record<string, () => Promise<OpenSurface>>;

/** Name of a surface in {@link PARSER_SURFACES}. */
export type ParserSurfaceName = keyof typeof PARSER_SURFACES;
