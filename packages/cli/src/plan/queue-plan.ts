import { jobMemory, loggedBytes, receiptBytes } from '@collectivekv/update-queue';
import { createSection, type Section } from './figure.js';
import type { PlanInput, PlannedBundle } from './plan-input.js';
import { sampleInteractions } from './sample-interactions.js';

/** The queue of interactions. */
export interface QueuePlan {
  readonly section: Section;
  readonly jobsPerS: number;
  /** A job's payload, bytes. */
  readonly payloadBytes: number;
  /** Jobs that wait after the planned lag. */
  readonly waitingJobs: number;
  /** All keys of the queue after the planned lag, bytes. */
  readonly totalBytes: number;
}

const DAY_S = 86_400;
/** How much more than the mean a partition may hold. */
const UNEVEN = 1.5;
/** Computes the bytes of the queue's Redis at the planned rate, after nobody has consumed for the planned lag. */
export function planQueue(input: PlanInput, { manifest }: PlannedBundle, partitionCount: number): QueuePlan {
  const { ratePerS, callInteractions, keyedCalls, lagS, keyPrefix } = input;
  const { section, computed } = createSection('Queue in Redis', 'queue');
  const jobsOfCall = partitionCount * (1 - (1 - 1 / partitionCount) ** callInteractions);
  const size = Math.max(1, Math.round(callInteractions / jobsOfCall));
  const interactions = sampleInteractions(size, input, manifest);
  const job = jobMemory({ keyPrefix, interactions, keyed: keyedCalls });
  const receipt = receiptBytes(keyPrefix);

  const perCall = `${Number(jobsOfCall.toFixed(1))} for a call of ${callInteractions}, if each is of another user`;
  const jobsPerS = computed('jobsPerS', 'jobs', (ratePerS / callInteractions) * jobsOfCall, '/s', perCall);
  computed(
    'jobBytes',
    'a waiting job',
    job.waitingBytes,
    'bytes',
    `payload of ${job.payloadBytes} bytes, hash and list`,
  );
  const waitingJobs = computed(
    'waitingJobs',
    'waiting jobs',
    jobsPerS * lagS,
    'count',
    `after ${lagS} s without updaters`,
  );
  const waiting = computed('waitingBytes', 'all waiting jobs', waitingJobs * job.waitingBytes, 'bytes', 'of that lag');
  const kind = keyedCalls ? '"de:" keys' : '"added-" hashes';
  const remembered = computed(
    'rememberedBytes',
    `${kind}, by which repeated calls are known`,
    jobsPerS * job.rememberedS * job.rememberedBytes,
    'bytes',
    `${job.rememberedBytes} bytes a job for ${job.rememberedS} s`,
  );
  const receipts = computed(
    'receiptBytes',
    'receipts of erasures',
    (input.erasuresPerDay / DAY_S) * input.receiptTtlS * receipt,
    'bytes',
    `${receipt} bytes each for ${Math.round(input.receiptTtlS / DAY_S)} days`,
  );
  const [interaction] = interactions;
  const logged = interaction ? loggedBytes(interaction) : 0;
  const eventLog = computed(
    'eventLogBytes',
    'the event log',
    ratePerS * input.eventLogS * logged,
    'bytes',
    `${Math.round(logged)} bytes an interaction, if the busiest rate never ends`,
  );
  const sum = waiting + remembered + receipts + eventLog;
  const totalBytes = computed('redisBytes', 'the queue', sum, 'bytes', 'the sum');
  computed(
    'waitingJobsOfPartition',
    'CKV_MAX_WAITING_JOBS, at least',
    Math.ceil((waitingJobs / partitionCount) * UNEVEN),
    'count',
    `for ${partitionCount} partitions, of which one has up to ${UNEVEN} times the mean`,
  );
  return { section, jobsPerS, payloadBytes: job.payloadBytes, waitingJobs, totalBytes };
}
