import { type FileOutcome, type Followed, followTlsFiles, type TlsMaterial } from '@collectivekv/credentials';
import { invalidRequest } from '@collectivekv/domain';

/** The files of an HTTPS server, by the variables that name them. '' is unset. */
export interface PageTlsFiles {
  readonly CKV_TLS_CERT_FILE: string;
  readonly CKV_TLS_KEY_FILE: string;
  readonly CKV_TLS_CLIENT_CA_FILE: string;
}

/**
 * Reads and follows the files of an HTTPS server.
 * @returns undefined without a certificate
 * @throws invalid_request if a file cannot be used, or one that TLS needs is not set
 */
export function followPageTls(
  files: PageTlsFiles,
  onFileOutcome: (outcome: FileOutcome) => void,
): Followed<TlsMaterial> | undefined {
  const fileOf = (field: keyof PageTlsFiles) => (files[field] === '' ? undefined : { field, path: files[field] });
  const [certificate, key] = [fileOf('CKV_TLS_CERT_FILE'), fileOf('CKV_TLS_KEY_FILE')];
  const authorities = fileOf('CKV_TLS_CLIENT_CA_FILE');
  if (!certificate && !key) {
    if (!authorities) return undefined;
    throw invalidRequest(
      authorities.field,
      'is set without CKV_TLS_CERT_FILE',
      'give the server a certificate, or unset it',
    );
  }
  return followTlsFiles({ authorities, certificate, key }, onFileOutcome);
}

/** Returns what an HTTPS server takes of the files' present content. */
export function secureContextOf({ authorities, identity }: TlsMaterial) {
  return { ca: authorities, cert: identity?.cert, key: identity?.key };
}
