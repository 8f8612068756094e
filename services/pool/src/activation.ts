import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError } from '@collectivekv/bundles';
import { CkvError, WHOLE_SHARE_BP } from '@collectivekv/domain';
import { z } from 'zod';

const bundleId = z.string().regex(/^[0-9a-f]{16}$/);
const activationSchema = z.strictObject({
  active: bundleId,
  /** Bundles that were active before, the latest first. */
  previous: z.array(bundleId),
  /**
   * Bundles that may become active, in the order in which they became candidates. A share of 0 only makes a bundle warm.
   * Absent if there are none: a pool that knows no candidates refuses the field.
   */
  candidates: z.array(z.strictObject({ bundleId, shareBp: z.int().min(0).max(WHOLE_SHARE_BP) })).optional(),
  /**
   * Previous bundles whose records lack interactions: for a time no announced bundle had their encoding. Absent if there
   * are none, as above.
   */
  stale: z.array(bundleId).optional(),
});

/** The active bundle, the previously active bundles, and the candidates. */
export type Activation = z.infer<typeof activationSchema>;

/** Keeps the activation in a file: it survives a restart, and replicas that share the folder agree on it. */
export interface ActivationFile {
  /** Returns the activation; undefined if none was written. Throws bundle_not_loaded if the file is damaged. */
  read(): Promise<Activation | undefined>;
  /**
   * Throws overloaded if the disk is full, dependency_unavailable if the folder cannot be written. Nothing changes
   * then.
   */
  write(activation: Activation): Promise<void>;
}

/** Returns the activation file of a state folder. The first write creates the folder. */
export function createActivationFile(stateDir: string): ActivationFile {
  const path = join(stateDir, 'activation.json');
  return {
    async read() {
      const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      });
      if (text === undefined) return undefined;
      try {
        return activationSchema.parse(JSON.parse(text));
      } catch (cause) {
        const problem = `CKV_STATE_DIR: ${path} is damaged; delete it, then CKV_ACTIVE_BUNDLE names the active bundle`;
        throw new CkvError('bundle_not_loaded', problem, { cause });
      }
    },
    async write(activation) {
      const temporary = `${path}.${randomUUID()}`;
      try {
        await mkdir(stateDir, { recursive: true });
        await writeFile(temporary, `${JSON.stringify(activation)}\n`, { flush: true });
        await rename(temporary, path);
      } catch (thrown) {
        await rm(temporary, { force: true }).catch(() => undefined); // the folder itself may be unusable
        const { reason, message, retryAfterMs, cause } = fileError(stateDir, thrown);
        const text = `CKV_STATE_DIR: ${message}; the same bundle stays active`;
        throw new CkvError(reason, text, { retryAfterMs, cause });
      }
    },
  };
}
