import { CkvError, REASONS } from '@collectivekv/domain';
import { Command, Option } from 'commander';
import { bundleCommand } from './bundle-command.js';
import { openConnections } from './connections.js';
import { queueCommand } from './queue-command.js';
import { rankCommand } from './rank-command.js';
import { recordCommands } from './record-command.js';
import { userCommands } from './user-command.js';

const program = new Command('ckv')
  .description('Talk to a running CollectiveKV')
  .version('0.1.0')
  .addOption(new Option('--json', 'print JSON for programs instead of tables'))
  .addOption(target('--ranking <target>', 'RANKING', 'gRPC target of the ranking service'))
  .addOption(target('--updater <target>', 'UPDATER', 'gRPC target of the updater service'))
  .addOption(target('--pool <target>', 'POOL', 'gRPC target of the pool service'))
  .addOption(target('--user-cache <target>', 'USER_CACHE', 'gRPC target of the user-cache service'))
  .addOption(new Option('--queue-redis <url>', 'Redis of the queue').env('CKV_QUEUE_REDIS_URL'))
  .addOption(new Option('--key-prefix <prefix>', 'begins every key in Redis').env('CKV_KEY_PREFIX'))
  .addHelpText(
    'after',
    `
Targets are taken from the options, else from the environment, else from the system that npm start runs, else
they are the usual ports on this machine. CKV_TOKEN or CKV_TOKEN_FILE, and CKV_TLS_CA_FILE, sign in.`,
  )
  .showHelpAfterError('(ckv --help lists commands and options)');

const connections = openConnections(() => program.opts());
for (const command of [
  rankCommand(connections),
  ...recordCommands(connections),
  ...userCommands(connections),
  bundleCommand(connections),
  queueCommand(connections),
]) {
  program.addCommand(command);
}

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = 1;
  if (error instanceof CkvError) {
    const { statusName, retry } = REASONS[error.reason];
    const hint = error.reason === 'dependency_unavailable' ? '\n  npm start runs everything on this machine' : '';
    console.error(`error: ${error.message}\n  ${error.reason} (${statusName}); retry: ${retry}${hint}`);
  } else {
    console.error(`error: ${error instanceof Error ? error.message : error}`);
  }
} finally {
  await connections.close();
}

function target(flags: string, name: string, description: string): Option {
  return new Option(flags, description).env(`CKV_${name}_TARGET`);
}
