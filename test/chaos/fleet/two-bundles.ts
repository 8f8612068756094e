import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServiceProcess } from '@collectivekv/dev-stack';
import { bundleIdOf } from '@collectivekv/domain';
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import { DEMO_BUNDLE } from './fleet.js';

/** A folder with the demo bundle and with a copy of it under another name, and so with another id. */
export interface TwoBundles {
  readonly path: string;
  readonly ids: { readonly demo: string; readonly copy: string };
  /** Variables of a pool that serves both. The demo bundle is the active one. */
  readonly env: Readonly<Record<string, string>>;
}

/** Writes the folder. */
export async function writeTwoBundles(path: string): Promise<TwoBundles> {
  for (const name of ['demo', 'copy']) await cp(DEMO_BUNDLE, join(path, name), { recursive: true });
  const manifest = await readFile(join(path, 'demo', 'bundle.json'));
  const renamed = Buffer.from(JSON.stringify({ ...JSON.parse(manifest.toString()), name: 'copy' }));
  await writeFile(join(path, 'copy', 'bundle.json'), renamed);
  return {
    path,
    ids: { demo: bundleIdOf(manifest), copy: bundleIdOf(renamed) },
    env: { CKV_BUNDLES_DIR: path, CKV_ACTIVE_BUNDLE: 'demo' },
  };
}

/** Calls a pool. */
export async function withPool<T>(
  pool: ServiceProcess | undefined,
  work: (client: GrpcClient<'PoolService'>) => Promise<T>,
): Promise<T> {
  const client = createGrpcClient('PoolService', pool?.address ?? '');
  try {
    return await work(client);
  } finally {
    client.close();
  }
}
