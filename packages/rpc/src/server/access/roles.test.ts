import { describe, expect, it } from 'vitest';
import { services } from '../../wire/services.js';
import { REQUIRED_ROLES, ROLES, rolesOf } from './roles.js';

const methods = Object.entries(services).flatMap(([service, { service: definition }]) =>
  Object.keys(definition).map((method) => `${service}/${method}`),
);

describe('the table of roles', () => {
  it('has every method of every service, and no other', () => {
    const listed = Object.entries(REQUIRED_ROLES).flatMap(([service, entries]) =>
      Object.keys(entries).map((method) => `${service}/${method}`),
    );
    expect(listed.sort()).toEqual([...methods].sort());
  });

  it.each(methods)('gives %s at least one known role', (rpc) => {
    expect(rolesOf(rpc).length).toBeGreaterThan(0);
    expect(rolesOf(rpc).every((role) => role in ROLES)).toBe(true);
  });

  it('lets a feed backend neither read records nor administer', () => {
    const allowed = methods.filter((rpc) => rolesOf(rpc).some((role) => role === 'rank' || role === 'write'));
    expect(allowed.every((rpc) => /^(RankingService|InteractionService)\//.test(rpc))).toBe(true);
  });

  it('lets nobody call a method that it does not have', () => {
    expect(rolesOf('PoolService/Erase')).toEqual([]);
    expect(rolesOf('constructor/name')).toEqual([]);
  });
});
