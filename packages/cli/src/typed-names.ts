import type { CkvError } from '@collectivekv/domain';
import type { Command } from 'commander';

/** What an operator types for a field of a request. Of several names, the first one that the command has. */
const TYPED: Readonly<Record<string, readonly string[]>> = {
  bundle_id: ['--bundle', '<id>'],
  share_bp: ['--share'],
  min_coverage_bp: ['--min-coverage'],
  user_id: ['<user>'],
  candidate_ids: ['<items>'],
  candidate_features: ['--feature'],
  context_features: ['--context'],
  item_id: ['<items>', '--item'],
  event_id: ['--event-id', '<event-id>'],
  timestamp_ms: ['--at'],
  action: ['--action'],
  features: ['--feature'],
  receipt_id: ['--receipt-id', '<id>'],
  capture_id: ['--capture'],
  top_k: ['--top'],
};
/** Fields that a command fills itself. The message says all without the name. */
const UNTYPED = ['known_change'];

/**
 * Returns the message of an error for whoever typed the command: it begins with the option or the argument at fault, in
 * the place of the request's field. A feature's name follows its option, and an item's number its argument. A bundle or
 * a receipt is named as it was typed.
 * @param command the command that ran
 */
export function typedMessage(
  { message, field }: Pick<CkvError, 'message' | 'field'>,
  command: Pick<Command, 'options' | 'registeredArguments' | 'args'>,
): string {
  if (field === undefined || !message.startsWith(`${field}: `)) return message;
  const text = message.slice(field.length + 2);
  if (UNTYPED.includes(field)) return text;
  const parts = field.split(/[.[\]]+/).filter((part) => part !== '');
  const at = parts.findIndex((part) => snakeCase(part) in TYPED);
  const has = (name: string) =>
    command.options.some(({ long }) => long === name) ||
    command.registeredArguments.some((argument) => `<${argument.name()}>` === name);
  const name = TYPED[snakeCase(parts[at] ?? '')]?.find(has);
  if (name === undefined) return message;
  if (name === '<id>') {
    const typed = command.args[command.registeredArguments.findIndex((argument) => argument.name() === 'id')] ?? 'id';
    return text.startsWith(`${typed} `) ? text : `${typed}: ${text}`;
  }
  const number = parts.find((part) => /^\d+$/.test(part));
  const detail = name === '<items>' && number !== undefined ? [`number ${Number(number) + 1}`] : parts.slice(at + 1);
  return `${[name, ...detail].join(' ')}: ${text}`;
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
