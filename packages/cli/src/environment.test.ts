import { createGrpcClient } from '@collectivekv/rpc';
import { describe, expect, it } from 'vitest';
import { readAccess, readUseProxy, unsetEmpty } from './environment.js';

describe('unsetEmpty', () => {
  it('deletes the empty variables of this system, and no others', () => {
    const env = { CKV_POOL_TARGET: '', CKV_KEY_PREFIX: 'x', OTHER: '' };
    unsetEmpty(env);
    expect(env).toEqual({ CKV_KEY_PREFIX: 'x', OTHER: '' });
  });
});

const OWN_CERT = { CKV_TLS_CLIENT_CERT_FILE: '/own', CKV_TLS_CLIENT_KEY_FILE: '/own.key' };

describe('readAccess', () => {
  it('prefers the token to its file', () => {
    expect(readAccess({ CKV_TOKEN: 'own', CKV_TOKEN_FILE: '/file' })).toMatchObject({ token: 'own', tokenFile: '' });
    expect(readAccess({ CKV_TOKEN_FILE: '/file' })).toMatchObject({ token: '', tokenFile: '/file' });
    expect(readAccess({})).toMatchObject({ token: '', tokenFile: '', tlsCaFile: '', useProxy: false });
  });

  it('shows its own certificate, else that of a service in the same environment', () => {
    const shared = { CKV_TLS_CA_FILE: '/ca', CKV_TLS_CERT_FILE: '/cert', CKV_TLS_KEY_FILE: '/key' };
    expect(readAccess(shared)).toMatchObject({ tlsClientCertFile: '/cert', tlsClientKeyFile: '/key' });
    const own = { CKV_TLS_CLIENT_CERT_FILE: '/own', CKV_TLS_CLIENT_KEY_FILE: '/own.key' };
    expect(readAccess({ ...shared, ...own })).toMatchObject({
      tlsClientCertFile: '/own',
      tlsClientKeyFile: '/own.key',
    });
    expect(readAccess({ ...shared, CKV_TLS_CA_FILE: '' })).toMatchObject({ tlsClientCertFile: '' });
  });

  it('names the variable of its own certificate to set, if there is none', () => {
    expect(readAccess({ CKV_TLS_CA_FILE: '/ca' }).optionNames?.tlsClientCertFile).toBe('CKV_TLS_CLIENT_CERT_FILE');
  });

  it.each([
    [{ CKV_TOKEN_FILE: '/nowhere' }, 'CKV_TOKEN_FILE: /nowhere cannot be read (ENOENT)'],
    [{ CKV_TLS_CA_FILE: '/nowhere' }, 'CKV_TLS_CA_FILE: /nowhere cannot be read (ENOENT)'],
    [{ CKV_TLS_CLIENT_CERT_FILE: '/own' }, 'CKV_TLS_CLIENT_CERT_FILE: is set without CKV_TLS_CA_FILE'],
    [{ CKV_TLS_CA_FILE: '/nowhere', CKV_TLS_CERT_FILE: '/own' }, 'CKV_TLS_CERT_FILE: is set without the file of its'],
    [{ CKV_TLS_CA_FILE: '/ca', ...OWN_CERT }, 'CKV_TLS_CLIENT_CERT_FILE: /own cannot be read (ENOENT)'],
  ])('names the variable at fault: %j', (env, message) => {
    expect(() => createGrpcClient('PoolService', '127.0.0.1:1', readAccess(env))).toThrow(message);
  });
});

describe('readUseProxy', () => {
  it.each([
    [undefined, false],
    ['', false],
    ['false', false],
    ['true', true],
  ])('reads %j as %s', (text, expected) => {
    expect(readUseProxy(text === undefined ? {} : { CKV_USE_PROXY: text })).toBe(expected);
  });

  it('refuses another text, and names the variable', () => {
    expect(() => readUseProxy({ CKV_USE_PROXY: 'maybe' })).toThrow('CKV_USE_PROXY: "maybe" is neither true nor false');
  });
});
