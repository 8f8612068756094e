/** What a user of Redis may do. */
export interface AccessRules {
  /** Patterns of the keys that the user may touch. */
  readonly keys: readonly string[];
  /** Patterns of the channels that the user may use; default none. Needs Redis 6.2. */
  readonly channels?: readonly string[];
  /** Commands beside those of {@link CONNECTION_COMMANDS}, in lower case; a subcommand as `memory|usage`. */
  readonly commands: readonly string[];
}

/** Commands of a connection itself: its name, the nodes of a cluster, and whether the server works. */
const CONNECTION_COMMANDS = ['info', 'client|setname', 'cluster|slots', 'cluster|info', 'asking'];

/**
 * Returns the words that give a user these rights and take all others, as `ACL SETUSER` takes them. If the database is
 * not 0, the user also needs `+select`.
 * @param password '': a placeholder, for documents
 */
export function accessRuleWords({ keys, channels = [], commands }: AccessRules, password = 'PASSWORD'): string[] {
  const allowed = [...commands, ...CONNECTION_COMMANDS].map((command) => `+${command}`);
  const patterns = [...keys.map((pattern) => `~${pattern}`), ...channels.map((pattern) => `&${pattern}`)];
  return ['reset', 'on', `>${password}`, ...patterns, ...allowed];
}
