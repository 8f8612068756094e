import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CkvError } from '@collectivekv/domain';
import { z } from 'zod';

const activationSchema = z.strictObject({
  active: z.string().regex(/^[0-9a-f]{16}$/),
  /** Bundles active before, the latest first. */
  previous: z.array(z.string().regex(/^[0-9a-f]{16}$/)),
});

/** Which bundle is active and which were before. */
export type Activation = z.infer<typeof activationSchema>;

/** Keeps the activation in a file, so that a restart and replicas that share the folder agree. */
export interface ActivationFile {
  /** Undefined where none was ever written. Throws where the file is unreadable. */
  read(): Promise<Activation | undefined>;
  write(activation: Activation): Promise<void>;
}

/** The activation file of a state folder; the folder is made at the first write. */
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
        const problem = `CKV_STATE_DIR: ${path} cannot be read; delete it, and CKV_ACTIVE_BUNDLE decides`;
        throw new CkvError('bundle_not_loaded', problem, { cause });
      }
    },
    async write(activation) {
      await mkdir(stateDir, { recursive: true });
      const temporary = `${path}.${randomUUID()}`;
      await writeFile(temporary, `${JSON.stringify(activation)}\n`, { flush: true });
      await rename(temporary, path);
    },
  };
}
