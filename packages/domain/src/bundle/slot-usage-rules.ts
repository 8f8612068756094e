import { repeated } from '../repeated.js';
import type { Manifest } from './manifest-schema.js';

/** Slots of the largest field whose use is counted. A window over them takes 8 MiB. */
export const MAX_COUNTED_SLOTS = 1_048_576;

/** Bytes of a slot's count. */
const COUNT_BYTES = 4;

/** Checks what a manifest says of the counts of training. Returns one line per problem. */
export function slotUsageProblems({ record, files, training }: Manifest): string[] {
  const { slotUsage = [] } = training;
  const twice = repeated(slotUsage.map(({ field }) => field));
  return [
    ...twice.map((field) => `training.slotUsage: ${field} is duplicated`),
    ...slotUsage.flatMap(({ field: name, file }) => {
      const at = `training.slotUsage.${name}`;
      const field = record.fields.find((one) => one.name === name);
      if (field?.kind !== 'route') return [`${at}.field: no route field ${name}`];
      if (field.slots > MAX_COUNTED_SLOTS)
        return [`${at}: ${field.slots} slots, at most ${MAX_COUNTED_SLOTS} are counted`];
      const listed = files.find(({ path }) => path === file);
      if (!listed) return [`${at}.file: ${file} is not in files`];
      const bytes = COUNT_BYTES * field.slots;
      return listed.bytes === bytes ? [] : [`${at}.file: ${file} has ${listed.bytes} bytes, ${bytes} are required`];
    }),
  ];
}
