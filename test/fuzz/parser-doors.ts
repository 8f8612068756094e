import { bundleFilesDoor, graphsDoor } from './doors/bundle-files.js';
import { configurationsDoor } from './doors/configurations.js';
import { logsDoor } from './doors/logs.js';
import { manifestsDoor } from './doors/manifests.js';
import { redisUrlsDoor } from './doors/redis-urls.js';
import { type OpenDoor, openDoor } from './run-door.js';

/** Doors that are parsers of a library. Each runs in a process of its own. */
export const PARSER_DOORS = {
  manifests: async () => openDoor(await manifestsDoor()),
  'bundle-files': async () => openDoor(await bundleFilesDoor()),
  graphs: async () => openDoor(await graphsDoor()),
  logs: async () => openDoor(await logsDoor()),
  'redis-urls': async () => openDoor(redisUrlsDoor()),
  configurations: async () => openDoor(configurationsDoor()),
} satisfies Record<string, () => Promise<OpenDoor>>;

/** Name of a door in {@link PARSER_DOORS}. */
export type ParserDoorName = keyof typeof PARSER_DOORS;
