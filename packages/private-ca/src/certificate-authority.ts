import 'reflect-metadata';
import { isIP } from 'node:net';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

/** A certificate and its private key, as PEM. */
export interface CertificatePair {
  readonly cert: string;
  readonly key: string;
}

/** What a certificate says. */
export interface CertificateOptions {
  /** Common name. Default `test`. */
  readonly commonName?: string;
  /** DNS names and IP addresses of the owner. Default: localhost and 127.0.0.1. */
  readonly hosts?: readonly string[];
  /** What the certificate may be used for. Default: both. */
  readonly usages?: readonly ('server' | 'client')[];
  /** First time at which it is valid. Default: an hour ago. */
  readonly notBefore?: Date;
  /** Last time at which it is valid. Default: in a day. */
  readonly notAfter?: Date;
}

/** A certificate authority for tests. */
export interface CertificateAuthority {
  /** Its own certificate, as PEM. */
  readonly cert: string;
  /** Makes a key, and signs a certificate for it. */
  issue(options?: CertificateOptions): Promise<CertificatePair>;
}

const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const HOUR_MS = 3_600_000;

/** Makes a certificate authority with a key of its own. */
export async function createCertificateAuthority(commonName = 'test authority'): Promise<CertificateAuthority> {
  const keys = await crypto.subtle.generateKey(EC, true, ['sign', 'verify']);
  const own: X509Certificate = await X509CertificateGenerator.createSelfSigned({
    ...validity({}),
    name: `CN=${commonName}`,
    keys,
    signingAlgorithm: EC,
    extensions: [
      new BasicConstraintsExtension(true, 1, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });

  return {
    cert: own.toString('pem'),
    async issue(options = {}) {
      const { hosts = ['localhost', '127.0.0.1'], usages = ['server', 'client'] } = options;
      const leaf = await crypto.subtle.generateKey(EC, true, ['sign', 'verify']);
      const certificate = await X509CertificateGenerator.create({
        ...validity(options),
        subject: `CN=${options.commonName ?? 'test'}`,
        issuer: own.subject,
        publicKey: leaf.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: EC,
        extensions: [
          new BasicConstraintsExtension(false, undefined, true),
          new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
          new ExtendedKeyUsageExtension(usages.map((usage) => ExtendedKeyUsage[`${usage}Auth`])),
          new SubjectAlternativeNameExtension(
            hosts.map((value) => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value })),
          ),
          await AuthorityKeyIdentifierExtension.create(own.publicKey),
        ],
      });
      const key = await crypto.subtle.exportKey('pkcs8', leaf.privateKey);
      return { cert: certificate.toString('pem'), key: PemConverter.encode(key, 'PRIVATE KEY') };
    },
  };
}

function validity({ notBefore, notAfter }: CertificateOptions): { notBefore: Date; notAfter: Date } {
  const nowMs = Date.now();
  return {
    notBefore: notBefore ?? new Date(nowMs - HOUR_MS),
    notAfter: notAfter ?? new Date(nowMs + 24 * HOUR_MS),
  };
}
