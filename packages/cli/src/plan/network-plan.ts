import { EVENT_HASH_BYTES, encodingIdOf, RECENT_EVENT_RING } from '@collectivekv/domain';
import { services } from '@collectivekv/rpc';
import { createSection, type Section } from './figure.js';
import type { PlanInput, PlannedBundle } from './plan-input.js';
import type { QueuePlan } from './queue-plan.js';
import type { RecordPlan } from './record-plan.js';
import { sampleInteractions } from './sample-interactions.js';

/** Bytes of a command and its answer in Redis's protocol, beside the payload. */
const COMMAND_BYTES = 100;
/** What a BullMQ job writes beside its payload while it is added, taken and completed. */
const JOB_WRITES_BYTES = 600;
const FLOAT_BYTES = 4;

const { RankingService, InteractionService, UserCacheService } = services;

/** Computes the bytes per second between the parts, without the frames of HTTP/2 and TCP. */
export function planNetwork(
  input: PlanInput,
  bundle: PlannedBundle,
  { records, queue }: { readonly records: RecordPlan; readonly queue: QueuePlan },
): Section {
  const { ratePerS, ranksPerS, candidates, redisReplicas, callInteractions, encodings } = input;
  const { section, computed, assumed } = createSection('Network and disk', 'network');
  assumed(
    'commandBytes',
    'a command of Redis, beside its payload',
    COMMAND_BYTES,
    'bytes',
    'names of commands and keys',
  );
  const appendsPerS = encodings * ratePerS;
  const [ask, answer] = rankMessageBytes(input, bundle);
  computed(
    'rankIn',
    'backend to ranking',
    ranksPerS * ask,
    'bytes/s',
    `${Math.round(ask)} bytes a request of ${candidates} candidates`,
  );
  computed('rankOut', 'ranking to backend', ranksPerS * answer, 'bytes/s', `${Math.round(answer)} bytes an answer`);
  const read = records.valueBytes + COMMAND_BYTES;
  computed(
    'recordReads',
    'records to ranking',
    ranksPerS * read,
    'bytes/s',
    `${Math.round(read)} bytes a record, without the near cache`,
  );
  const recordBytes = recordMessageBytes(input, bundle) / callInteractions;
  computed(
    'recordIn',
    'backend to updater',
    ratePerS * recordBytes,
    'bytes/s',
    `${Math.round(recordBytes)} bytes an interaction`,
  );
  const jobBytes = 2 * (queue.payloadBytes + COMMAND_BYTES);
  computed(
    'queue',
    'updater to queue and back',
    queue.jobsPerS * jobBytes,
    'bytes/s',
    `${Math.round(jobBytes)} bytes a job: added and taken`,
  );
  const append = appendMessageBytes(input, bundle);
  computed(
    'appends',
    'updater to user-cache',
    appendsPerS * append,
    'bytes/s',
    `${Math.round(append)} bytes an interaction and encoding`,
  );
  const script = append + COMMAND_BYTES;
  computed(
    'scripts',
    'user-cache to records',
    appendsPerS * script,
    'bytes/s',
    `${Math.round(script)} bytes an interaction and encoding`,
  );
  const whole = records.valueBytes + COMMAND_BYTES;
  computed(
    'recordFile',
    "records: append-only file, and each replica's stream",
    appendsPerS * whole,
    'bytes/s',
    `an append writes the whole record: ${Math.round(whole)} bytes`,
  );
  computed(
    'replication',
    'records: to all replicas',
    redisReplicas * appendsPerS * whole,
    'bytes/s',
    `copies of each primary: ${redisReplicas}`,
  );
  const jobWrites = queue.payloadBytes + JOB_WRITES_BYTES;
  computed(
    'queueReplication',
    'queue: to all replicas',
    redisReplicas * queue.jobsPerS * jobWrites,
    'bytes/s',
    `about ${Math.round(jobWrites)} bytes a job`,
  );
  return section;
}

/** Returns the bytes of a rank request and of its answer. */
function rankMessageBytes(input: PlanInput, { id, manifest }: PlannedBundle): [ask: number, answer: number] {
  const { candidates, itemIdBytes, userIdBytes } = input;
  const { candidate, context } = manifest.features;
  const ask = RankingService.service.Rank.requestSerialize({
    userId: 'u'.repeat(userIdBytes),
    candidateIdText: Buffer.alloc(candidates * itemIdBytes),
    candidateIdLengths: Buffer.alloc(candidates * FLOAT_BYTES),
    candidateFeatures: candidate.map(({ name }) => ({ name, values: Buffer.alloc(candidates * FLOAT_BYTES) })),
    contextFeatures: context.map(({ name }) => ({ name, values: Buffer.alloc(FLOAT_BYTES) })),
  });
  const answer = RankingService.service.Rank.responseSerialize({
    scores: Buffer.alloc(candidates * FLOAT_BYTES),
    order: Buffer.alloc(candidates * FLOAT_BYTES),
    info: {
      bundleId: id,
      encodingId: encodingIdOf(manifest),
      positionCount: 1_000,
      recordAgeMs: 60_000,
      lastEventMs: 1_700_000_000_000,
      rung: 'DEGRADATION_RUNG_FULL',
      timings: { fetchUs: 500, assembleUs: 500, attendUs: 5_000, totalUs: 6_000 },
    },
  });
  return [ask.length, answer.length];
}

function recordMessageBytes(input: PlanInput, { manifest }: PlannedBundle): number {
  const interactions = sampleInteractions(input.callInteractions, input, manifest);
  return InteractionService.service.Record.requestSerialize({ interactions }).length;
}

/** Returns the bytes of one user's append of one row, in a call with many. */
function appendMessageBytes({ userIdBytes }: PlanInput, { manifest, strideBytes }: PlannedBundle): number {
  const append = {
    userId: 'u'.repeat(userIdBytes),
    eventHashes: Buffer.alloc(EVENT_HASH_BYTES),
    rows: Buffer.alloc(strideBytes),
    lastEventMs: 1_700_000_000_000,
  };
  const appends = Array.from({ length: RECENT_EVENT_RING }, () => append);
  const message = { encodingId: encodingIdOf(manifest), strideBytes, maxPositions: 1_000, appends };
  return UserCacheService.service.AppendPositions.requestSerialize(message).length / appends.length;
}
