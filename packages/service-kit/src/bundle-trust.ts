import { z } from 'zod';

/** Returns the schema of the variable that names the keys whose owners may sign bundles. */
export function bundleTrustConfig() {
  return {
    CKV_BUNDLE_TRUST: z
      .string()
      .regex(/^[^\n\r]*$/, 'must be paths of PEM files, not their content')
      .default('')
      .describe(
        'PEM files with the ed25519 public keys of which one must have signed each bundle, with commas between them; read again when they change; unset: bundles need no signature',
      ),
  };
}
