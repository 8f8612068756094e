import { fileURLToPath } from 'node:url';

/** The repository's root, relative to the built file. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** Bundles that `npm run drill -- --write-bundles` has trained, for the part of `npm test`. */
export const BUNDLES = fileURLToPath(new URL('../bundles', import.meta.url));
