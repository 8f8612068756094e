import { createHash } from 'node:crypto';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundleFolder } from '../mixed-requests.fixture.js';

const WEIGHTS = 'weights.bin';
/** As long as the name above: it takes its place in the graph. */
const OTHER_WEIGHTS = 'weightz.bin';

/**
 * Writes the bundle `target` with other weights in its rank graph alone: every weight is multiplied. The golden check
 * passes, because the manifest allows a greater difference than before.
 */
export async function writeAlteredTarget(dir: string, factor: number): Promise<void> {
  await cp(bundleFolder('target'), dir, { recursive: true });
  const rank = (await readFile(join(dir, 'rank.onnx'))).toString('latin1').replaceAll(WEIGHTS, OTHER_WEIGHTS);
  await writeFile(join(dir, 'rank.onnx'), rank, 'latin1');
  const weights = new Float32Array(new Uint8Array(await readFile(join(dir, WEIGHTS))).buffer);
  await writeFile(join(dir, OTHER_WEIGHTS), Buffer.from(weights.map((weight) => weight * factor).buffer));
  const manifest = JSON.parse(await readFile(join(dir, 'bundle.json'), 'utf8'));
  const paths: string[] = [...manifest.files.map(({ path }: { path: string }) => path), OTHER_WEIGHTS];
  const files = await Promise.all(
    paths.map(async (path) => {
      const bytes = await readFile(join(dir, path));
      return { path, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
    }),
  );
  const golden = { ...manifest.golden, tolerance: 0.01 };
  await writeFile(join(dir, 'bundle.json'), JSON.stringify({ ...manifest, golden, files }));
}
