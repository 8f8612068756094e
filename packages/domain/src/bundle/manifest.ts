import { createHash } from 'node:crypto';
import { counted } from '../counted.js';
import { CkvError } from '../errors.js';
import { manifestRuleProblems } from './manifest-rules.js';
import { type Manifest, manifestSchema } from './manifest-schema.js';

/**
 * Parses and checks bundle.json.
 * @throws bundle_invalid with a message that lists every problem and its path
 */
export function parseManifest(bytes: Uint8Array): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (cause) {
    throw new CkvError('bundle_invalid', 'bundle.json is not JSON; export the bundle again', { cause });
  }
  const parsed = manifestSchema.safeParse(json);
  const problems = parsed.success
    ? manifestRuleProblems(parsed.data)
    : parsed.error.issues.map((issue) => `${issue.path.join('.') || 'bundle.json'}: ${issue.message}`);
  if (!parsed.success || problems.length > 0) {
    throw new CkvError(
      'bundle_invalid',
      `bundle.json has ${counted(problems.length, 'problem')}: ${problems.join('; ')}`,
    );
  }
  return parsed.data;
}

/** Returns a bundle's id: the first 16 hexadecimal characters of sha256(bundle.json). */
export function bundleIdOf(manifestBytes: Uint8Array): string {
  return createHash('sha256').update(manifestBytes).digest('hex').slice(0, 16);
}
