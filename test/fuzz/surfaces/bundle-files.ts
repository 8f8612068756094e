import { createHash } from 'node:crypto';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadBundle } from '@collectivekv/bundles';
import { CkvError, type Manifest } from '@collectivekv/domain';
import { createEngine } from '@collectivekv/engine';
import fc from 'fast-check';
import { FIXTURE_BUNDLES } from '../fixture-bundles.js';
import { damagedBytes } from '../inputs/damaged-bytes.js';
import { damagedJson } from '../inputs/damaged-json.js';
import { damagedMessages } from '../inputs/damaged-messages.js';
import type { Surface } from '../surface.js';

/** A bundle with other content in one file. */
interface ChangedFile {
  readonly bundle: number;
  readonly path: string;
  readonly content: Buffer;
}

interface Prepared {
  readonly dir: string;
  readonly manifest: Manifest;
}

/**
 * Bundles in which one file is damaged and the manifest has its new digest. So they are what a broken export would
 * make, not what a broken copy would be. A bundle must load and serve, or be refused as `bundle_invalid`.
 */
export async function bundleFilesSurface(): Promise<Surface<ChangedFile>> {
  return bundlesSurface('files of a bundle', (path) => !path.endsWith('.onnx'));
}

/** Bundles with a damaged graph. onnxruntime reads it inside the process. */
export async function graphsSurface(): Promise<Surface<ChangedFile>> {
  return bundlesSurface('ONNX graphs', (path) => path.endsWith('.onnx'));
}

async function bundlesSurface(name: string, isDamaged: (path: string) => boolean): Promise<Surface<ChangedFile>> {
  const root = await mkdtemp(join(tmpdir(), 'ckv-fuzz-bundles-'));
  const engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 64 });
  const bundles = await Promise.all(
    FIXTURE_BUNDLES.map(async (from, i): Promise<Prepared> => {
      const dir = join(root, String(i));
      await cp(from, dir, { recursive: true });
      return { dir, manifest: JSON.parse(await readFile(join(dir, 'bundle.json'), 'utf8')) as Manifest };
    }),
  );
  const choices = await Promise.all(
    bundles.flatMap(({ dir, manifest }, bundle) =>
      manifest.files
        .filter(({ path }) => isDamaged(path))
        .map(async ({ path }) => {
          const content = await readFile(join(dir, path));
          return damagedFile(path, content).map((damaged) => ({ bundle, path, content: damaged }));
        }),
    ),
  );
  const load = async ({ dir }: Prepared) => {
    const options = { graphs: ['encode', 'rank', 'rankKv', 'gather'] as const, verifyGolden: true, poolTables: true };
    const loaded = await loadBundle(dir, engine, { ...options, privateDir: root });
    await loaded.close();
  };

  return {
    name,
    inputs: fc.oneof(...choices),
    async judge({ bundle, path, content }) {
      const prepared = bundles[bundle] as Prepared;
      const { dir, manifest } = prepared;
      const original = await readFile(join(dir, path));
      const originalManifest = await readFile(join(dir, 'bundle.json'));
      const sha256 = createHash('sha256').update(content).digest('hex');
      const files = manifest.files.map((file) => (file.path === path ? { path, bytes: content.length, sha256 } : file));
      await writeFile(join(dir, path), content);
      await writeFile(join(dir, 'bundle.json'), JSON.stringify({ ...manifest, files }));
      try {
        await load(prepared);
        return 'accepted';
      } catch (error) {
        if (error instanceof CkvError && error.reason === 'bundle_invalid') return 'refused';
        throw error;
      } finally {
        await writeFile(join(dir, path), original);
        await writeFile(join(dir, 'bundle.json'), originalManifest);
      }
    },
    async stillRight() {
      await load(bundles[0] as Prepared); // runs the golden vectors
    },
    async close() {
      await engine.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}

function damagedFile(path: string, content: Buffer): fc.Arbitrary<Buffer> {
  if (path.endsWith('.json')) return damagedJson([JSON.parse(content.toString())]);
  if (path.endsWith('.onnx')) return fc.oneof(damagedMessages([content]), damagedBytes([content]));
  return damagedBytes([content]);
}
