import { CkvError } from '../errors.js';
import type { Manifest } from './manifest-schema.js';

const COUNT_BYTES = 4;

/**
 * Reads how the histories of training use the slots of route fields.
 * @param files bytes by path: packed little-endian uint32, one for each slot
 * @throws bundle_invalid if a file is missing, or does not count as many positions as the manifest says
 */
export function readTrainedUsage(
  { training, record }: Manifest,
  files: ReadonlyMap<string, Uint8Array>,
): ReadonlyMap<string, Uint32Array> {
  const usages = (training.slotUsage ?? []).map(({ field, file, positions }) => {
    const { slots = 0 } = record.fields.find((one) => one.kind === 'route' && one.name === field) as { slots?: number };
    const bytes = files.get(file);
    if (bytes?.length !== COUNT_BYTES * slots) throw unfit(file, `has no ${slots} counts`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const counts = Uint32Array.from({ length: slots }, (_, slot) => view.getUint32(COUNT_BYTES * slot, true));
    const sum = counts.reduce((total, count) => total + count, 0);
    if (sum !== positions) throw unfit(file, `counts ${sum} positions, bundle.json says ${positions}`);
    return [field, counts] as const;
  });
  return new Map(usages);
}

function unfit(file: string, problem: string): CkvError {
  return new CkvError('bundle_invalid', `${file}: ${problem}; export the bundle again`);
}
