import { Command } from 'commander';
import { expect, it, vi } from 'vitest';
import { defaultCommand } from './default-command.js';

/** Runs `ckv bundle` with words, and returns whether its default command ran. */
async function ran(...words: string[]): Promise<boolean> {
  const action = vi.fn();
  const parent = new Command('bundle').exitOverride().configureOutput({ writeErr: () => undefined });
  defaultCommand(parent, 'list').action(action);
  parent.command('show').action(() => undefined);
  for (const each of parent.commands) each.copyInheritedSettings(parent);
  await parent.parseAsync(words, { from: 'user' });
  return action.mock.calls.length > 0;
}

it('runs the default command without a word and by its name', async () => {
  expect(await ran()).toBe(true);
  expect(await ran('list')).toBe(true);
  expect(await ran('show')).toBe(false);
});

it('lists the commands if the word is none of them', async () => {
  await expect(ran('nope')).rejects.toThrow('"nope" is not a command of "ckv bundle"; its commands are list, show');
});
