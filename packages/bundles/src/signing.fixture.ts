import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { keyIdOf } from './signing-keys.js';

/** A key that signs bundles. */
export interface KeyPair {
  readonly key: KeyObject;
  readonly id: string;
  readonly privatePem: string;
  readonly publicPem: string;
}

/** Makes a key, as `openssl genpkey -algorithm ed25519` does. */
export function makeKeyPair(): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    key: privateKey,
    id: keyIdOf(publicKey),
    privatePem: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    publicPem: String(publicKey.export({ type: 'spki', format: 'pem' })),
  };
}
