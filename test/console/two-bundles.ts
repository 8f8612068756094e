import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleIdOf } from '@collectivekv/domain';
import { DEMO_BUNDLE } from './console-stack.js';

/** Folder of two bundles with one encoding. */
export interface TwoBundles {
  readonly dir: string;
  readonly demoId: string;
  /** A copy of the demo under the name `demo-next`. */
  readonly nextId: string;
}

/** Writes the demo bundle, and a copy of it under another name. */
export function writeTwoBundles(dir: string): TwoBundles {
  mkdirSync(dir, { recursive: true });
  const [demo, next] = [join(dir, 'demo'), join(dir, 'next')];
  cpSync(DEMO_BUNDLE, demo, { recursive: true });
  cpSync(DEMO_BUNDLE, next, { recursive: true });
  const original = readFileSync(join(demo, 'bundle.json'));
  const changed = Buffer.from(JSON.stringify({ ...JSON.parse(original.toString()), name: 'demo-next' }));
  writeFileSync(join(next, 'bundle.json'), changed);
  return { dir, demoId: bundleIdOf(original), nextId: bundleIdOf(changed) };
}
