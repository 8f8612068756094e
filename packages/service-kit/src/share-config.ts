import { parseShare, SHARE_FORM } from '@collectivekv/domain';
import { z } from 'zod';

/** Returns the schema of a share: a percentage such as `80%`, or a decimal fraction such as `0.8`. */
export function shareConfig({ fallback, means }: { readonly fallback: number; readonly means: string }) {
  return z
    .preprocess(
      (value) => (typeof value === 'string' ? parseShare(value) : value),
      z
        .number({ error: `must be ${SHARE_FORM}` })
        .min(0)
        .max(1),
    )
    .prefault(fallback)
    .describe(means);
}
