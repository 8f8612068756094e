import { readFileSync } from 'node:fs';

/** Deletes the variables of this system that are empty: they count as unset, as they do for the services. */
export function unsetEmpty(env: NodeJS.ProcessEnv): void {
  for (const [name, value] of Object.entries(env)) if (name.startsWith('CKV_') && value === '') delete env[name];
}

/**
 * Returns the bearer token of `CKV_TOKEN`, else of the file that `CKV_TOKEN_FILE` names, else ''.
 * @throws Error if the file cannot be read
 */
export function readToken({ CKV_TOKEN, CKV_TOKEN_FILE: path }: NodeJS.ProcessEnv): string {
  if (CKV_TOKEN) return CKV_TOKEN;
  if (!path) return '';
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new Error(`CKV_TOKEN_FILE: ${path} cannot be read (${code}); name a file that holds the token`, { cause });
  }
}

/**
 * Reads CKV_USE_PROXY. Unset counts as false.
 * @throws Error if it is neither true nor false
 */
export function readUseProxy({ CKV_USE_PROXY: text = '' }: NodeJS.ProcessEnv): boolean {
  if (text === '' || text === 'false') return false;
  if (text === 'true') return true;
  throw new Error(`CKV_USE_PROXY: "${text}" is neither true nor false; set one of them, or unset it`);
}
