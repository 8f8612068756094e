import { Command } from 'commander';

/** Creates `ckv help`, which takes the words of a command at any depth: `ckv help bundle activate`. */
export function helpCommand(program: Command): Command {
  return new Command('help')
    .description('explain a command')
    .argument('[command...]', 'words of the command, such as "bundle activate"')
    .action((words: readonly string[]) => {
      words
        .reduce((parent, word) => {
          const found = parent.commands.find((one) => one.name() === word || one.aliases().includes(word));
          if (found) return found;
          const names = parent.commands.map((one) => one.name());
          const commands = names.length > 0 ? `its commands are ${names.join(', ')}` : 'it has none';
          return program.error(`error: "${word}" is not a command of "${parent.name()}"; ${commands}`);
        }, program)
        .help();
    });
}
