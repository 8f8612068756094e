import type { ServiceProcess } from '@collectivekv/dev-stack';
import { packIds, services, writeIds } from '@collectivekv/rpc';
import type { Bench } from '../bench-context.js';
import { CANDIDATES, candidatesOf } from '../workload.js';
import type { FloodPlan } from './plan.js';

/** A method that is flooded. */
export interface Door extends Pick<FloodPlan, 'path' | 'kind' | 'messages' | 'numberAt' | 'timeoutMs'> {
  /** As the tables print it. */
  readonly name: string;
  readonly service: ServiceProcess;
  /**
   * A counter of the answers that the service computed, for callers that wait and for others; undefined without one.
   */
  readonly answersCounter?: string;
}

const POSITIONS = 1_000;
const INTERACTIONS = 20;
const MESSAGES = 64;
const READS = 128;
const DIGITS = '0'.repeat(8);

/** Returns the doors, for the recommended bundle. */
export async function openDoors({ ours, log, store }: Bench): Promise<Door[]> {
  await ours.hold(POSITIONS);
  const { ranking, updater, 'user-cache': userCache } = ours.stack.services;
  if (!ranking[0] || !updater[0] || !userCache[0]) throw new Error('a service is missing');
  const users = Array.from({ length: MESSAGES }, (_, i) => `${ours.name}-${POSITIONS}-${i}`);
  const held = await store.getRecords(ours.model.encodingId, users);
  if (held.some((record) => !record)) throw new Error('a user has no record');
  const { text, lengths } = writeIds(packIds(candidatesOf(ours.model, CANDIDATES).ids, 'candidate_ids'));
  const rankMessage = (userId: string, timeoutMs: number) =>
    services.RankingService.service.Rank.requestSerialize({
      userId,
      candidateIdText: text,
      candidateIdLengths: lengths,
      timeoutMs,
    });
  const rankTimeoutMs = 1_000;
  const interactions = log.events(MESSAGES * INTERACTIONS, { users: 500, seed: 9_000 });
  const recordMessages = users.map((_, i) =>
    services.InteractionService.service.Record.requestSerialize({
      interactions: interactions
        .slice(i * INTERACTIONS, (i + 1) * INTERACTIONS)
        .map((one, place) => ({ ...one, eventId: `flood-${place}-${DIGITS}` })),
    }),
  );
  const { path: rankPath } = services.RankingService.service.Rank;
  const answersCounter = 'ckv_rank_answers_total';
  return [
    {
      name: 'Rank',
      service: ranking[0],
      path: rankPath,
      kind: 'calls',
      messages: users.map((user) => rankMessage(user, 0)),
      timeoutMs: rankTimeoutMs,
      answersCounter,
    },
    {
      name: 'RankStream',
      service: ranking[0],
      path: services.RankingService.service.RankStream.path,
      kind: 'streams',
      messages: users.map((user) => rankMessage(user, rankTimeoutMs)),
      timeoutMs: rankTimeoutMs,
      answersCounter,
    },
    {
      name: `GetRecords, ${READS} users`,
      service: userCache[0],
      path: services.UserCacheService.service.GetRecords.path,
      kind: 'calls',
      messages: users.map((_, i) =>
        services.UserCacheService.service.GetRecords.requestSerialize({
          encodingId: ours.model.encodingId,
          userIds: Array.from({ length: READS }, (__, j) => users[(i + j) % MESSAGES] ?? ''),
        }),
      ),
      timeoutMs: 1_000,
    },
    {
      name: `Record, ${INTERACTIONS} interactions`,
      service: updater[0],
      path: services.InteractionService.service.Record.path,
      kind: 'calls',
      messages: recordMessages,
      numberAt: recordMessages.map((message) => placesOf(message, DIGITS)),
      timeoutMs: 5_000,
    },
  ];
}

function placesOf(message: Buffer, text: string): number[] {
  const places: number[] = [];
  for (let at = message.indexOf(text); at >= 0; at = message.indexOf(text, at + text.length)) places.push(at);
  return places;
}
