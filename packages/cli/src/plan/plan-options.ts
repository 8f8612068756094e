import { parseShare, SHARE_FORM } from '@collectivekv/domain';
import { InvalidArgumentError, Option } from 'commander';
import { wholeNumber } from '../number-options.js';
import { historyLengths } from './history-lengths.js';
import { PLAN_LIMITS } from './plan-input.js';

const LEAST_UTILISATION = 0.05;
const DEFAULT_RECEIPT_TTL_S = 7_776_000;

/** Options of the planned load and machines, in the order of the help. */
export function planOptions(): Option[] {
  const { users, perSecond, callInteractions, lagS, eventLogHours, erasuresPerDay, idBytes } = PLAN_LIMITS;
  const { redisReplicas, serverGib, cores, spare } = PLAN_LIMITS;
  const whole = (flags: string, text: string, min: number, max: number, value: number) =>
    new Option(flags, text).argParser(wholeNumber(min, max)).default(value);
  return [
    new Option('--users <count>', 'users with a record').argParser(wholeNumber(1, users)).makeOptionMandatory(),
    new Option('--positions <lengths>', 'length of a record: 1000, or shares of the users: 100:60%,1000:40%')
      .argParser(historyLengths)
      .makeOptionMandatory(),
    new Option('--rate <number>', 'interactions per second at the busiest time')
      .argParser(decimal(0, perSecond))
      .makeOptionMandatory(),
    new Option('--ranks <number>', 'rank requests per second at the busiest time')
      .argParser(decimal(0, perSecond))
      .makeOptionMandatory(),
    whole('--candidates <count>', 'candidates of a rank request', 1, 10_000, 500),
    whole('--per-call <count>', 'interactions of a Record call, each of another user', 1, callInteractions, 1),
    new Option('--keyed', 'Record calls have an idempotency key').default(false),
    whole('--lag <seconds>', 'how long updaters may be away', 0, lagS, 600),
    whole('--event-log <hours>', 'age of CKV_EVENT_LOG; 0: off', 0, eventLogHours, 0),
    whole('--erasures <count>', 'deletions of users and interactions a day', 0, erasuresPerDay, 0),
    whole('--receipt-ttl <seconds>', 'CKV_RECEIPT_TTL_S', 3_600, 315_360_000, DEFAULT_RECEIPT_TTL_S),
    whole('--user-id-bytes <count>', 'length of a user id', 1, idBytes, 36),
    new Option(
      '--item-id-bytes <count>',
      'length of an item id; default: of the catalogue, 12 without its folder',
    ).argParser(wholeNumber(1, idBytes)),
    whole('--event-id-bytes <count>', 'length of an event id', 1, idBytes, 36),
    whole(
      '--encodings <count>',
      'encodings whose records are kept at once: 2 while a new one replaces another',
      1,
      3,
      2,
    ),
    whole('--redis-replicas <count>', 'copies of each primary of Redis', 0, redisReplicas, 1),
    whole('--server-memory <GiB>', 'memory of a machine of Redis', 1, serverGib, 64),
    whole('--cores <count>', 'cores of a replica of a service', 1, cores, 2),
    new Option('--utilisation <share>', 'share of the processor time to use, such as 60% or 0.6')
      .argParser(utilisation)
      .default(0.6),
    whole('--spare <count>', 'replicas of each service beside those for the load', 0, spare, 1),
  ];
}

/** The values of {@link planOptions} and of the command's other options. */
export interface PlanOptions {
  readonly bundle: string;
  readonly measure?: boolean;
  readonly seconds: number;
  readonly measured?: string;
  readonly users: number;
  readonly positions: ReturnType<typeof historyLengths>;
  readonly rate: number;
  readonly ranks: number;
  readonly candidates: number;
  readonly perCall: number;
  readonly keyed: boolean;
  readonly lag: number;
  readonly eventLog: number;
  readonly erasures: number;
  readonly receiptTtl: number;
  readonly userIdBytes: number;
  readonly itemIdBytes?: number;
  readonly eventIdBytes: number;
  readonly encodings: number;
  readonly redisReplicas: number;
  readonly serverMemory: number;
  readonly cores: number;
  readonly utilisation: number;
  readonly spare: number;
}

/** Reads the share of the processor time. */
function utilisation(text: string): number {
  const share = parseShare(text);
  if (share !== undefined && share >= LEAST_UTILISATION) return share;
  throw new InvalidArgumentError(`Give ${SHARE_FORM}, at least ${100 * LEAST_UTILISATION}%.`);
}

/** Creates a reader of decimal numbers from `min` to `max`. */
function decimal(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^(\d+\.?\d*|\.\d+)$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Give a number from ${min} to ${max}, with a decimal point.`);
  };
}
