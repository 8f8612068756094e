import { readNamedFile } from '@collectivekv/credentials';
import { invalidRequest } from '@collectivekv/domain';
import type { GrpcClientOptions } from '@collectivekv/rpc';

/** Deletes the variables of this system that are empty: they count as unset, as they do for the services. */
export function unsetEmpty(env: NodeJS.ProcessEnv): void {
  for (const [name, value] of Object.entries(env)) if (name.startsWith('CKV_') && value === '') delete env[name];
}

/**
 * Returns a variable as services read it: its value, else the content of the file that `NAME_FILE` names. Undefined if
 * neither is set.
 * @throws invalid_request if the file cannot be read, or is empty
 */
export function readVariable(env: NodeJS.ProcessEnv, name: string): string | undefined {
  if (env[name]) return env[name];
  const [field, path] = [`${name}_FILE`, env[`${name}_FILE`]];
  if (!path) return undefined;
  const text = readNamedFile({ field, path }).toString().trim();
  if (text === '') throw invalidRequest(field, `${path} is empty`, `write the value of ${name} into it, or unset it`);
  return text;
}

/**
 * Returns how the CLI calls services: with which token, certificate and authorities. A variable for clients comes
 * before the variable of a service's own certificate, since both may be in a shared environment.
 * @throws Error if CKV_USE_PROXY is neither true nor false
 */
export function readAccess(env: NodeJS.ProcessEnv): GrpcClientOptions {
  const { CKV_TOKEN: token = '', CKV_TLS_CA_FILE: tlsCaFile = '' } = env;
  const { CKV_TLS_CLIENT_CERT_FILE: certFile = '', CKV_TLS_CLIENT_KEY_FILE: keyFile = '' } = env;
  const { CKV_TLS_CERT_FILE: servedCertFile = '', CKV_TLS_KEY_FILE: servedKeyFile = '' } = env;
  const shared = certFile === '' && keyFile === '' && tlsCaFile !== '' && servedCertFile !== '';
  return {
    token,
    tokenFile: token === '' ? (env.CKV_TOKEN_FILE ?? '') : '',
    tlsCaFile,
    tlsClientCertFile: shared ? servedCertFile : certFile,
    tlsClientKeyFile: shared ? servedKeyFile : keyFile,
    tlsServerName: env.CKV_TLS_SERVER_NAME ?? '',
    useProxy: readUseProxy(env),
    optionNames: {
      token: 'CKV_TOKEN',
      tokenFile: 'CKV_TOKEN_FILE',
      tlsCaFile: 'CKV_TLS_CA_FILE',
      tlsClientCertFile: shared ? 'CKV_TLS_CERT_FILE' : 'CKV_TLS_CLIENT_CERT_FILE',
      tlsClientKeyFile: shared ? 'CKV_TLS_KEY_FILE' : 'CKV_TLS_CLIENT_KEY_FILE',
      tlsServerName: 'CKV_TLS_SERVER_NAME',
    },
  };
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
