import { fileURLToPath } from 'node:url';

/** The root of the repository: this module runs from its source and from `dist/`. */
export const ROOT = fileURLToPath(new URL(import.meta.url.includes('/dist/') ? '../../..' : '../..', import.meta.url));
/** Folder of the demo bundle. */
export const DEMO_BUNDLE = `${ROOT}/bundles/demo`;
const fixture = (name: string) => `${ROOT}/test/fixtures/bundles/${name}`;
/** A bundle whose rows depend on the history. */
export const HISTORY_BUNDLE = fixture('hstu');
/** Small bundles of different families and forms of records. */
export const FIXTURE_BUNDLES = ['target', 'factored', 'factored_sim', 'hstu', 'residual', 'twin'].map(fixture);
