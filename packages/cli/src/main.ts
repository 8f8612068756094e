import { CkvError, REASONS } from '@collectivekv/domain';
import { DEFAULT_PARTITION_COUNT } from '@collectivekv/update-queue';
import { Command, Option } from 'commander';
import { backfillCommand } from './backfill-command.js';
import { bundleCommand } from './bundle-command.js';
import { openConnections } from './connections.js';
import { unsetEmpty } from './environment.js';
import { explainCommand } from './explain-command.js';
import { helpCommand } from './help-command.js';
import { planCommand } from './plan/plan-command.js';
import { poolCommand } from './pool-command.js';
import { queueCommand } from './queue-command.js';
import { rankCommand } from './rank-command.js';
import { receiptCommand } from './receipt-command.js';
import { recordCommands } from './record-command.js';
import { replayCommand } from './replay-command.js';
import { topCommand } from './top-command.js';
import { typedMessage } from './typed-names.js';
import { unreachableHints } from './unreachable-hints.js';
import { userCommands } from './user-command.js';

unsetEmpty(process.env);
const program = new Command('ckv')
  .description('Records interactions, ranks items and inspects a running CollectiveKV.')
  .version('0.1.0')
  .addOption(new Option('--json', 'print JSON instead of tables'))
  .addOption(target('--ranking <host:port>', 'RANKING', 'ranking service; default 127.0.0.1:50053'))
  .addOption(target('--updater <host:port>', 'UPDATER', 'updater service; default 127.0.0.1:50054'))
  .addOption(target('--pool <host:port>', 'POOL', 'pool service; default 127.0.0.1:50051'))
  .addOption(target('--user-cache <host:port>', 'USER_CACHE', 'user-cache service; default 127.0.0.1:50052'))
  .addOption(
    new Option('--queue-redis <url>', "the queue's Redis; required unless npm start runs").env('CKV_QUEUE_REDIS_URL'),
  )
  .addOption(new Option('--key-prefix <text>', 'prefix of all keys in Redis; default ckv').env('CKV_KEY_PREFIX'))
  .addHelpText(
    'after',
    `
An option overrides its environment variable. An empty variable counts as unset. While "npm start" runs, its addresses
replace the defaults.

More environment variables:
  CKV_TOKEN                  bearer token, if the services require one
  CKV_TOKEN_FILE             file that holds the token
  CKV_TLS_CA_FILE            certificate authorities (PEM file) of the services; turns TLS on
  CKV_TLS_CLIENT_CERT_FILE   own certificate (PEM file), if the services require one
  CKV_TLS_CLIENT_KEY_FILE    private key of this certificate
  CKV_TLS_SERVER_NAME        name in the services' certificates, if it is not the host of the target
  CKV_QUEUE_REDIS_URL_FILE   file that holds the URL of the queue's Redis; CKV_KEY_PREFIX_FILE and CKV_PARTITIONS_FILE
                             work alike
  CKV_REDIS_TLS_CA_FILE      certificate authorities (PEM file) of Redis, for rediss:// URLs
  CKV_REDIS_TLS_CERT_FILE    own certificate (PEM file), if Redis requires one
  CKV_REDIS_TLS_KEY_FILE     private key of this certificate
  CKV_REDIS_TLS_SERVER_NAME  name in Redis's certificates, if it is not the host of the URL
  CKV_USE_PROXY              true: call services beyond loopback through the HTTP proxy of grpc_proxy, https_proxy or
                             http_proxy; default false
  CKV_BUNDLE_TRUST           keys that may sign bundles (PEM files), for "ckv bundle verify" and "ckv replay"
  CKV_CAPTURE_KEY_FILE       keys of captures, for "ckv replay"
  CKV_METRICS_TARGETS        addresses of the /metrics of all processes, for "ckv top"
  CKV_PARTITIONS             partitions of the queue; default ${DEFAULT_PARTITION_COUNT}

"ckv help COMMAND" explains a command.`,
  )
  .showHelpAfterError('("ckv --help" lists all commands and options)');

const connections = openConnections(() => program.opts());
for (const command of [
  rankCommand(connections),
  explainCommand(connections),
  ...recordCommands(connections),
  ...userCommands(connections),
  receiptCommand(connections),
  bundleCommand(connections),
  backfillCommand(connections),
  poolCommand(connections),
  queueCommand(connections),
  replayCommand(connections),
  topCommand(connections),
  planCommand(connections, () => program.opts<{ keyPrefix?: string }>().keyPrefix ?? 'ckv'),
]) {
  for (const each of [command, ...command.commands]) {
    each.copyInheritedSettings(program);
    each.addHelpText('after', '\n"ckv --help" lists the options of all commands, such as --json.');
  }
  program.addCommand(command);
}
program.addCommand(helpCommand(program).copyInheritedSettings(program));

/** The command that runs. */
let running: Command = program;
program.hook('preAction', (_, command) => {
  running = command;
});

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = 1;
  if (error instanceof CkvError) {
    const { statusName, retry } = REASONS[error.reason];
    const hints = unreachableHints(error, process.env).map((hint) => `\n  ${hint}`);
    console.error(
      `error: ${typedMessage(error, running)}\n  ${error.reason} (${statusName}); retry: ${retry}${hints.join('')}`,
    );
  } else {
    console.error(`error: ${error instanceof Error ? error.message : error}`);
  }
} finally {
  await connections.close();
}

function target(flags: string, name: string, description: string): Option {
  return new Option(flags, description).env(`CKV_${name}_TARGET`);
}
