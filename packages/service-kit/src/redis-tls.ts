import { optionalText } from './config.js';

/** Returns the schema of the variables for TLS to Redis. */
export function redisTlsConfig() {
  return {
    CKV_REDIS_TLS_CA_FILE: optionalText(
      "PEM file of the authorities that sign Redis's certificates, for rediss:// URLs; default: those that Node brings",
    ),
    CKV_REDIS_TLS_CERT_FILE: optionalText('PEM file of the certificate chain that this service shows to Redis'),
    CKV_REDIS_TLS_KEY_FILE: optionalText('PEM file of the private key of CKV_REDIS_TLS_CERT_FILE'),
    CKV_REDIS_TLS_SERVER_NAME: optionalText(
      "name that Redis's certificates must have; default: the host of each server, which in a cluster may be an address",
    ),
  };
}
