import { loadConfig as loadPoolConfig, poolConfigSchema } from '@collectivekv/pool/config';
import { loadConfig as loadRankingConfig, rankingConfigSchema } from '@collectivekv/ranking/config';
import { ConfigError } from '@collectivekv/service-kit';
import { loadConfig as loadUpdaterConfig, updaterConfigSchema } from '@collectivekv/updater/config';
import { loadConfig as loadUserCacheConfig, userCacheConfigSchema } from '@collectivekv/user-cache/config';
import fc from 'fast-check';
import { hostileNumber, hostileText } from '../inputs/hostile.js';
import type { Surface } from '../surface.js';

const LOADERS = [loadPoolConfig, loadUserCacheConfig, loadRankingConfig, loadUpdaterConfig];
const SCHEMAS = [poolConfigSchema, userCacheConfigSchema, rankingConfigSchema, updaterConfigSchema];
const NAMES = [...new Set(SCHEMAS.flatMap(({ shape }) => Object.keys(shape)))].flatMap((name) => [
  name,
  `${name}_FILE`,
]);
/** Variables that hold a secret. No message may repeat it. */
const SECRETS = /TOKEN$|REDIS_URL$/;
const SECRET = 'Zq7-hidden';

/**
 * Values of environment variables. A service must refuse them, with the name of the variable, or start with sane
 * numbers.
 */
export function configurationsSurface(): Surface<Readonly<Record<string, string>>> {
  const value = fc.oneof(
    hostileText,
    hostileNumber.map(String),
    fc.constantFrom(
      '0.0.0.0:1',
      'localhost:99999',
      '[::]:0',
      'a,b',
      'dns:///x',
      'true',
      'yes',
      'debug',
      'cuda',
      'redis://h',
    ),
  );
  return {
    name: 'configuration values',
    found: [{ CKV_TOKEN_FILE: '/dev/zero' }], // was read without end
    inputs: fc.dictionary(fc.constantFrom(...NAMES), value, { minKeys: 1, maxKeys: 5 }).map((env) => {
      const entries = Object.entries(env);
      return Object.fromEntries(entries.map(([name, text]) => [name, SECRETS.test(name) ? text + SECRET : text]));
    }),
    async judge(env) {
      let refused = 0;
      for (const load of LOADERS) {
        try {
          for (const [name, number] of Object.entries(load({ ...env }))) {
            if (typeof number === 'number' && !Number.isFinite(number)) throw new Error(`${name} is ${number}`);
          }
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error;
          refused++;
          const { message } = error;
          if (!/CKV_[A-Z_]+:/.test(message)) throw new Error(`no variable is named: ${message}`);
          if (message.includes(SECRET)) throw new Error(`the message tells a secret: ${message}`);
        }
      }
      return refused > 0 ? 'refused' : 'accepted';
    },
    async stillRight() {
      const { CKV_BIND } = loadRankingConfig({ CKV_BIND: '127.0.0.1:7' });
      if (CKV_BIND !== '127.0.0.1:7') throw new Error(`CKV_BIND is ${CKV_BIND}`);
    },
  };
}
