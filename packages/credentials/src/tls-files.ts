import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import { CkvError } from '@collectivekv/domain';
import { type FileOutcome, type Followed, followFiles } from './follow-files.js';
import type { NamedFile } from './small-file.js';

/** PEM files of one side of a TLS connection. */
export interface TlsFiles {
  /** Certificates of the authorities that sign the other side's certificate. */
  readonly authorities?: NamedFile | undefined;
  /** This side's certificate, with the certificates of intermediate authorities behind it. */
  readonly certificate?: NamedFile | undefined;
  /** The private key of `certificate`. */
  readonly key?: NamedFile | undefined;
}

/** This side's certificate chain and its private key, as PEM. */
export interface TlsIdentity {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** When the certificate expires, Unix ms. */
  readonly notAfterMs: number;
}

/** Checked contents of {@link TlsFiles}. */
export interface TlsMaterial {
  readonly authorities: Buffer | undefined;
  readonly identity: TlsIdentity | undefined;
  /** All of it, for `tls.connect`. */
  readonly secureContext: SecureContext;
}

/**
 * Reads PEM files, checks them, and follows their changes. Of the authorities at least one must be valid now, and so
 * must this side's whole chain.
 * @throws invalid_request that names the option or variable, the file and the remedy
 */
export function followTlsFiles(files: TlsFiles, onOutcome?: (outcome: FileOutcome) => void): Followed<TlsMaterial> {
  const { authorities, certificate, key } = files;
  if ((certificate === undefined) !== (key === undefined)) throw halfPair(files);
  const named = [certificate, key, authorities].filter((file) => file !== undefined);
  return followFiles({
    files: named,
    onOutcome,
    parse(contents) {
      const contentOf = (file: NamedFile | undefined) => file && contents[named.indexOf(file)];
      const [ca, cert, secret] = [contentOf(authorities), contentOf(certificate), contentOf(key)];
      if (authorities && ca) checkAuthorities(authorities, ca);
      const identity =
        certificate && key && cert && secret ? identityOf({ certificate, key }, { cert, key: secret }) : undefined;
      return { authorities: ca, identity, secureContext: contextOf(certificate ?? authorities, { ca, identity }) };
    },
  });
}

function checkAuthorities(file: NamedFile, pem: Buffer): void {
  const problems = certificatesIn(file, pem).map((certificate) => validityProblem(certificate));
  if (problems.every((problem) => problem !== undefined)) {
    throw wrong(file, `holds no authority that is valid now: ${problems[0]}`, 'add the certificate of a valid one');
  }
}

function identityOf(
  { certificate: file, key: keyFile }: { certificate: NamedFile; key: NamedFile },
  { cert, key }: { cert: Buffer; key: Buffer },
): TlsIdentity {
  const chain = certificatesIn(file, cert);
  for (const [i, certificate] of chain.entries()) {
    const problem = validityProblem(certificate);
    if (problem) throw wrong(file, `holds certificate ${i + 1} of ${chain.length}, which ${problem}`, 'renew it');
  }
  const [leaf] = chain as [X509Certificate, ...X509Certificate[]];
  if (!leaf.checkPrivateKey(privateKeyIn(keyFile, key))) {
    const problem = `does not hold the key of the certificate in ${file.path} (${file.field})`;
    throw wrong(keyFile, problem, "name the file of that certificate's key");
  }
  return { cert, key, notAfterMs: Date.parse(leaf.validTo) };
}

function privateKeyIn(file: NamedFile, pem: Buffer): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    const encrypted = /ENCRYPTED/.test(pem.toString('latin1'));
    const problem = encrypted ? 'holds an encrypted key' : 'holds no private key';
    throw wrong(file, problem, 'name a PEM file with a private key and no passphrase', cause);
  }
}

/** Returns the certificates of a PEM file, at least one. */
function certificatesIn(file: NamedFile, pem: Buffer): X509Certificate[] {
  const blocks = pem.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw wrong(file, 'holds no certificate', 'name a PEM file with BEGIN CERTIFICATE');
  return blocks.map((block, i) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw wrong(file, `holds a damaged certificate, number ${i + 1}`, 'write the file again', cause);
    }
  });
}

/** Returns why a certificate is not valid at this time, or undefined. */
function validityProblem({ validFrom, validTo }: X509Certificate): string | undefined {
  const [fromMs, toMs] = [Date.parse(validFrom), Date.parse(validTo)];
  const nowMs = Date.now();
  if (nowMs > toMs) return `expired at ${new Date(toMs).toISOString()}`;
  if (nowMs < fromMs) return `is valid only from ${new Date(fromMs).toISOString()}`;
  return undefined;
}

function contextOf(
  file: NamedFile | undefined,
  { ca, identity }: { ca: Buffer | undefined; identity: TlsIdentity | undefined },
): SecureContext {
  try {
    return createSecureContext({ ca, cert: identity?.cert, key: identity?.key });
  } catch (cause) {
    const problem = `cannot be used for TLS (${(cause as Error).message})`;
    throw file ? wrong(file, problem, 'make a certificate with a stronger key', cause) : cause;
  }
}

function halfPair({ certificate, key }: TlsFiles): CkvError {
  const field = certificate?.field ?? key?.field ?? '';
  const missing = certificate ? 'the file of its private key' : 'the file of its certificate';
  return new CkvError('invalid_request', `${field}: is set without ${missing}; set both, or neither`, { field });
}

function wrong({ field, path }: NamedFile, problem: string, remedy: string, cause?: unknown): CkvError {
  return new CkvError('invalid_request', `${field}: ${path} ${problem}; ${remedy}`, { field, cause });
}
