import type { Command } from 'commander';

/**
 * Adds the command that runs if `parent` is called without one. If `parent` is called with a word that is not a
 * command, the error lists the commands.
 */
export function defaultCommand(parent: Command, name: string): Command {
  parent.hook('preSubcommand', () => {
    const [word] = parent.args;
    const names = parent.commands.map((command) => command.name());
    if (word === undefined || word.startsWith('-') || names.includes(word)) return;
    parent.error(`error: "${word}" is not a command of "ckv ${parent.name()}"; its commands are ${names.join(', ')}`);
  });
  return parent.command(name, { isDefault: true });
}
