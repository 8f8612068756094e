import { createHash, randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError, removeLeftFiles } from '@collectivekv/bundles';
import { CkvError, WHOLE_SHARE_BP } from '@collectivekv/domain';
import { z } from 'zod';

const bundleId = z.string().regex(/^[0-9a-f]{16}$/);
const encodingId = bundleId;
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
  /** Previous bundles that a rollback has left: no rollback leads to them. Absent if there are none, as above. */
  left: z.array(bundleId).optional(),
  /** Records changes, the latest of each encoding, in order. Absent if there are none, as above. */
  changes: z.array(z.strictObject({ encodingId, number: z.int().min(2) })).optional(),
});

/** The active bundle, the previously active bundles, and the candidates. */
export type Activation = z.infer<typeof activationSchema>;

/** Keeps the activation in a file: it survives a restart, and replicas that share the folder agree on it. */
export interface ActivationFile {
  /** Returns the activation; undefined if none was written. Throws bundle_not_loaded if the file is damaged. */
  read(): Promise<Activation | undefined>;
  /**
   * Writes the activation, if the file still has the one before. Returns false if another replica has changed it.
   * Throws overloaded if the disk is full, dependency_unavailable if the folder cannot be written. Nothing changes
   * then.
   */
  write(activation: Activation, before: Activation | undefined): Promise<boolean>;
}

const NAME = 'activation.json';

/**
 * Removes files that processes left in a state folder as they died while they wrote the activation: the file has no
 * other name yet, or its change has.
 */
export function removeLeftActivations(stateDir: string): Promise<void> {
  return removeLeftFiles(stateDir, NAME);
}

/** Returns the activation file of a state folder. The first write creates the folder. */
export function createActivationFile(stateDir: string): ActivationFile {
  const path = join(stateDir, NAME);

  async function read(): Promise<Activation | undefined> {
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
  }

  /** Puts a change in place. Another replica may have done it: the change is in its file. */
  async function complete(change: string): Promise<void> {
    await rename(change, path).catch(ignoring('ENOENT'));
  }

  /**
   * Puts a written file in place, if the activation is still the one before. Changes of one activation have one name,
   * and only one replica can create it. While it is there, the activation changes by it alone.
   */
  async function replace(written: string, before: Activation | undefined): Promise<boolean> {
    const isUnchanged = async () => digestOf(await read()) === digestOf(before);
    if (!(await isUnchanged())) return false;
    const change = `${path}.after-${digestOf(before)}`;
    const linked = await link(written, change).then(
      () => 'ours',
      (error: NodeJS.ErrnoException) => error.code ?? '',
    );
    if (linked === 'EEXIST') {
      await complete(change); // its replica may have died
      return false;
    }
    if (linked !== 'ours') {
      await rename(written, path); // a file system without links: for one replica
      return true;
    }
    if (await isUnchanged()) {
      await complete(change);
      return true;
    }
    if (!(await isSameFile(change, written))) return true; // another replica has completed it
    await rm(change, { force: true });
    return false;
  }

  return {
    read,
    async write(activation, before) {
      const temporary = `${path}.${randomUUID()}`;
      try {
        await mkdir(stateDir, { recursive: true });
        await writeFile(temporary, `${JSON.stringify(activation)}\n`, { flush: true });
        return await replace(temporary, before);
      } catch (thrown) {
        const { reason, message, retryAfterMs, cause } = fileError(stateDir, thrown);
        const text = `CKV_STATE_DIR: ${message}; the same bundle stays active`;
        throw new CkvError(reason, text, { retryAfterMs, cause });
      } finally {
        await rm(temporary, { force: true }).catch(() => undefined); // the folder itself may be unusable
      }
    },
  };
}

function digestOf(activation: Activation | undefined): string {
  return createHash('sha256')
    .update(JSON.stringify(activation ?? null))
    .digest('hex')
    .slice(0, 16);
}

/** True if both names lead to one file, false if one of them is gone. */
async function isSameFile(one: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([one, other].map((file) => stat(file).catch(() => undefined)));
  return a !== undefined && a.ino === b?.ino;
}

function ignoring(code: string): (error: NodeJS.ErrnoException) => void {
  return (error) => {
    if (error.code !== code) throw error;
  };
}
