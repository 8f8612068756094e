import { interaction, type Rpcs, wrongInteractions } from './shared-cases.js';

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
    ],
  ],
};
