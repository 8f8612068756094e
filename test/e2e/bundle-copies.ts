import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleIdOf, encodingIdOf, type Manifest, parseManifest } from '@collectivekv/domain';
import { DEMO_BUNDLE } from './e2e-stack.js';

/** The ids of a bundle. */
export interface BundleIds {
  readonly id: string;
  readonly encodingId: string;
}

/** Writes a copy of the demo bundle under another name. It has the encoding of the demo bundle, but another id. */
export function copyDemo(dir: string, name: string, changes: Partial<Manifest> = {}): BundleIds {
  cpSync(DEMO_BUNDLE, dir, { recursive: true });
  const path = join(dir, 'bundle.json');
  const bytes = Buffer.from(JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), name, ...changes }));
  writeFileSync(path, bytes);
  return { id: bundleIdOf(bytes), encodingId: encodingIdOf(parseManifest(bytes)) };
}

/** Writes a copy with an encoding of its own: its vocabulary has one action more, which nobody sends. */
export function copyDemoWithOtherEncoding(dir: string, name: string): BundleIds {
  const { actions } = parseManifest(readFileSync(join(DEMO_BUNDLE, 'bundle.json')));
  return copyDemo(dir, name, { actions: [...actions, 'never sent'] });
}
