import { Command } from 'commander';
import { expect, it } from 'vitest';
import { helpCommand } from './help-command.js';

/** Runs `ckv help` with words, and returns what it prints. */
async function helpOf(...words: string[]): Promise<string> {
  let text = '';
  const print = (part: string) => {
    text += part;
  };
  const program = new Command('ckv').exitOverride().configureOutput({ writeOut: print, writeErr: print });
  const bundle = new Command('bundle').copyInheritedSettings(program);
  bundle.command('activate').description('make it active').copyInheritedSettings(program);
  program.addCommand(bundle);
  program.addCommand(helpCommand(program).copyInheritedSettings(program));
  await program.parseAsync(['help', ...words], { from: 'user' }).catch(() => undefined);
  return text;
}

it('explains the program, a command, and a command of a command', async () => {
  expect(await helpOf()).toContain('Usage: ckv [options] [command]');
  expect(await helpOf('bundle')).toContain('Usage: ckv bundle [options] [command]');
  expect(await helpOf('bundle', 'activate')).toMatch(/Usage: ckv bundle activate.*make it active/s);
});

it('names the commands if a word is none', async () => {
  expect(await helpOf('nope')).toContain('"nope" is not a command of "ckv"; its commands are bundle, help');
  expect(await helpOf('bundle', 'nope')).toContain('"nope" is not a command of "bundle"; its commands are activate');
  expect(await helpOf('bundle', 'activate', 'x')).toContain('"x" is not a command of "activate"; it has none');
});
