import { fileURLToPath } from 'node:url';

export type * from './generated/types.js';

/** Folder of the .proto files: `collectivekv/v1/*.proto` is below it. */
export const protoDir = fileURLToPath(new URL('../dist/proto', import.meta.url));
