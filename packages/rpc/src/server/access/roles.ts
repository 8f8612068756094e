import type { MethodName } from '../../wire/methods.js';
import type { ServiceName } from '../../wire/services.js';

/** Who needs each role. {@link REQUIRED_ROLES} has the methods that its owner may call. */
export const ROLES = {
  rank: 'a feed backend',
  write: 'a feed backend',
  erase: 'whoever answers privacy requests',
  read: 'ranking, updater, console, and whoever looks at the console',
  append: 'updater',
  admin: 'an operator with `ckv`',
} as const;

/** A key of {@link ROLES}. */
export type Role = keyof typeof ROLES;

/** The roles of each method: a caller needs one of them. */
export type RequiredRoles = {
  readonly [S in ServiceName]: { readonly [M in MethodName<S>]: readonly [Role, ...Role[]] };
};

/** Which role each method needs. If there are several, one of them is enough. */
export const REQUIRED_ROLES: RequiredRoles = {
  RankingService: { Rank: ['rank'], RankMany: ['rank'], RankStream: ['rank'] },
  InteractionService: {
    Record: ['write'],
    Forget: ['write', 'erase', 'admin'],
    DeleteUser: ['erase', 'admin'],
    GetReceipt: ['write', 'erase', 'admin'],
  },
  PoolService: {
    Describe: ['read', 'admin'],
    Gather: ['read'],
    FetchBundle: ['read'],
    WatchBundles: ['read', 'admin'],
    ReportBundles: ['read'],
    ListBundles: ['read', 'admin'],
    ListFollowers: ['read', 'admin'],
    ReportSlotUsage: ['read'],
    GetPoolHealth: ['read', 'admin'],
    NameItems: ['read', 'admin'],
    SetCandidate: ['admin'],
    CancelCandidate: ['admin'],
    Activate: ['admin'],
    Rollback: ['admin'],
    NoteRecordsChange: ['admin'],
  },
  UserCacheService: {
    GetRecords: ['read', 'admin'],
    AppendPositions: ['append'],
    DeletePosition: ['append'],
    ReplaceRecord: ['admin'],
    DeleteRecord: ['append', 'admin'],
    DropRecords: ['append', 'admin'],
    Stats: ['admin'],
  },
};

/** A rank request with an explanation, beside the method's own roles: it shows positions of the user's record. */
export const EXPLAINED_RANK = 'RankingService/Rank with explain';

/** What people do with the console, beside the methods that it calls for them. */
export const CONSOLE_ROLES = {
  'Console/View': ['read', 'admin'],
  'Console/Change': ['admin'],
} as const satisfies Readonly<Record<string, readonly Role[]>>;

const ROLES_OF_RPC: ReadonlyMap<string, readonly Role[]> = new Map<string, readonly Role[]>(
  Object.entries(REQUIRED_ROLES).flatMap(([service, methods]) =>
    Object.entries<readonly Role[]>(methods).map(([method, roles]) => [`${service}/${method}`, roles] as const),
  ),
)
  .set('Console/View', CONSOLE_ROLES['Console/View'])
  .set('Console/Change', CONSOLE_ROLES['Console/Change'])
  .set('reflection', Object.keys(ROLES) as Role[])
  .set(EXPLAINED_RANK, REQUIRED_ROLES.UserCacheService.GetRecords);

/**
 * Returns the roles of `Service/Method`, or of {@link EXPLAINED_RANK}. Reflection is for everybody with a token. A method
 * of no service is for nobody.
 */
export function rolesOf(rpc: string): readonly Role[] {
  return ROLES_OF_RPC.get(rpc) ?? [];
}
