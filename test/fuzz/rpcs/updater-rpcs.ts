import { interaction, longId, type Rpcs, wrongInteractions } from './shared-cases.js';

const wrongReceiptIds = ['r', '2F1F7C4E-0000-4000-8000-000000000001', '2f1f7c4e-0000-1000-8000-000000000001'];

/** RPCs of InteractionService with their malformed requests. */
export const UPDATER_RPCS: Rpcs = {
  'InteractionService/Record': [
    { interactions: [interaction] },
    [
      ['no interactions', 'interactions', { interactions: [] }],
      ['1,001 interactions', 'interactions', { interactions: Array(1_001).fill(interaction) }],
      ['no user', 'interactions[1].userId', { interactions: [interaction, { ...interaction, userId: '' }] }],
      ...wrongInteractions('interactions[0]', (one) => ({ interactions: [one] })),
    ],
  ],
  'InteractionService/Forget': [
    { interaction },
    [
      ['nothing', 'interaction.eventId', {}],
      ['no user', 'interaction.userId', { interaction: { ...interaction, userId: '' } }],
      ['a long event', 'interaction.eventId', { interaction: { ...interaction, eventId: 'x'.repeat(129) } }],
      ...wrongReceiptIds.map(
        (receiptId) => [`the receipt ${receiptId}`, 'receipt_id', { interaction, receiptId }] as const,
      ),
    ],
  ],
  'InteractionService/DeleteUser': [
    { userId: 'u' },
    [
      ['no user', 'user_id', {}],
      ['a long user', 'user_id', { userId: longId }],
      ...wrongReceiptIds.map(
        (receiptId) => [`the receipt ${receiptId}`, 'receipt_id', { userId: 'u', receiptId }] as const,
      ),
    ],
  ],
  'InteractionService/GetReceipt': [
    { receiptId: '2f1f7c4e-0000-4000-8000-000000000001' },
    [
      ['no id', 'receipt_id', {}],
      ['an unknown id', 'receipt_id', { receiptId: '2f1f7c4e-0000-4000-8000-000000000001' }, ['receipt_not_found']],
      ...wrongReceiptIds.map((receiptId) => [`the id ${receiptId}`, 'receipt_id', { receiptId }] as const),
    ],
  ],
};
