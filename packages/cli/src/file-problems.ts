import { invalidRequest } from '@collectivekv/domain';

/** Throws invalid_request for a file that cannot be read. The field is the path, or the option with the path. */
export function cannotBeRead(field: string, cause: unknown, remedy: string): never {
  throw invalidRequest(field, `cannot be read: ${whyOf(cause)}`, remedy);
}

/** Throws invalid_request for a file that cannot be written. */
export function cannotBeWritten(field: string, cause: unknown): never {
  throw invalidRequest(field, `cannot be written: ${whyOf(cause)}`, 'name a file in a folder that you may write');
}

const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  ENOTDIR: 'a part of the path is no folder',
  EISDIR: 'it is a folder',
  EACCES: 'you lack the permission',
  EPERM: 'you lack the permission',
  EROFS: 'the disk is read-only',
  ENOSPC: 'the disk is full',
};

function whyOf(cause: unknown): string {
  const { code = '', message } = cause as NodeJS.ErrnoException;
  return WHY[code] ?? (code === '' ? message : code);
}
