import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServiceProcess } from '@collectivekv/dev-stack';
import { bundleIdOf } from '@collectivekv/domain';
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import { DEMO_BUNDLE } from './fleet.js';

/** A folder with the demo bundle and copies of it. */
export interface BundleCopies {
  readonly path: string;
  readonly ids: {
    readonly demo: string;
    /** Has the demo bundle's encoding: both read and write the same records. */
    readonly twin: string;
    /** Has an encoding of its own, and so records of its own. */
    readonly other: string;
  };
  /** Variables of a pool that serves all. The demo bundle is the active one. */
  readonly env: Readonly<Record<string, string>>;
}

/** Writes the folder. */
export async function writeBundleCopies(path: string): Promise<BundleCopies> {
  const bytes = await readFile(join(DEMO_BUNDLE, 'bundle.json'));
  const demo = JSON.parse(bytes.toString());
  const copyAs = async (name: string, manifest: Buffer) => {
    await cp(DEMO_BUNDLE, join(path, name), { recursive: true });
    await writeFile(join(path, name, 'bundle.json'), manifest);
    return bundleIdOf(manifest);
  };
  const changed = (name: string, actions = demo.actions) => Buffer.from(JSON.stringify({ ...demo, name, actions }));
  return {
    path,
    ids: {
      demo: await copyAs('demo', bytes),
      twin: await copyAs('twin', changed('twin')),
      other: await copyAs('other', changed('other', [...demo.actions, 'never sent'])),
    },
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
