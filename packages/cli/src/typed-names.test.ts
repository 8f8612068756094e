import { CkvError, invalidRequest } from '@collectivekv/domain';
import { Command } from 'commander';
import { expect, it } from 'vitest';
import { typedMessage } from './typed-names.js';

const rank = new Command('rank')
  .argument('<user>')
  .argument('<items...>')
  .option('--feature <n=v>')
  .option('--bundle <id>');
const activate = new Command('activate').argument('<id>').option('--min-coverage <share>');
activate.parse(['next'], { from: 'user' });

it.each([
  [rank, 'bundle_id', '--bundle: is wrong; do this'],
  [rank, 'bundleId', '--bundle: is wrong; do this'],
  [activate, 'bundle_id', 'next: is wrong; do this'],
  [activate, 'receipt_id', 'next: is wrong; do this'],
  [activate, 'min_coverage_bp', '--min-coverage: is wrong; do this'],
  [rank, 'user_id', '<user>: is wrong; do this'],
  [rank, 'candidateIds[2]', '<items> number 3: is wrong; do this'],
  [rank, 'interactions[1].itemId', '<items> number 2: is wrong; do this'],
  [rank, 'candidateFeatures.freshness', '--feature freshness: is wrong; do this'],
  [rank, 'interactions[0].features.watch_ratio', '--feature watch_ratio: is wrong; do this'],
  [activate, 'known_change', 'is wrong; do this'],
  [activate, 'share_bp', 'share_bp: is wrong; do this'], // nothing that was typed
  [rank, '--log', '--log: is wrong; do this'],
])('says what was typed: %#', (command, field, message) => {
  expect(typedMessage(invalidRequest(field, 'is wrong', 'do this'), command)).toBe(message);
});

it('says a bundle once if the message begins with it', () => {
  const error = invalidRequest('bundle_id', 'next is not loaded', 'load it');
  expect(typedMessage(error, activate)).toBe('next is not loaded; load it');
});

it('leaves a message alone that does not begin with its field', () => {
  expect(typedMessage(new CkvError('bug', 'a defect'), rank)).toBe('a defect');
  expect(typedMessage(new CkvError('conflict', 'too late', { field: 'bundle_id' }), rank)).toBe('too late');
});
