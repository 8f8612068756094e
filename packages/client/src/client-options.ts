import { parseReceiptId } from '@collectivekv/domain';
import type { GrpcClientOptions } from '@collectivekv/rpc';
import { checkFlag, checkKeys, checkMs, checkText, checkWholeNumber } from './checks.js';

/** Options of `createCollectiveKvClient`. */
export interface ClientOptions extends GrpcClientOptions {
  /** gRPC target of the ranking service. Join several addresses with commas. Default 127.0.0.1:50053. */
  readonly rankingTarget?: string;
  /** gRPC target of the updater service. Join several addresses with commas. Default 127.0.0.1:50054. */
  readonly interactionTarget?: string;
  /** Longest time for a rank call with its retries, ms. Default 1,000. */
  readonly rankTimeoutMs?: number;
  /** Longest time to record, forget or delete, with retries, ms. Default 10,000. */
  readonly recordTimeoutMs?: number;
  /** Most tries of a call, the first included. Default 4. */
  readonly maxAttempts?: number;
  /**
   * True: rank requests share streams that stay open for about a second. That costs both sides less than a call for
   * each request. Set it to false if a proxy on the way cannot carry such streams. Default true.
   */
  readonly rankStreams?: boolean;
}

/** Limits of one call. */
export interface CallOptions {
  /** Longest time for the call with its retries, ms. Default: the client's time. */
  readonly timeoutMs?: number;
  /**
   * Ends the call when it aborts. One signal may end many calls: the client removes the signal's limit on listeners.
   */
  readonly signal?: AbortSignal;
}

/** Options of `recordInteractions`. */
export interface RecordOptions extends CallOptions {
  /**
   * Names the call, at most 128 bytes: calling again with the same key and list within an hour has no further effect.
   * An interaction without an event id gets one made of the key, its place in the list, its user, item and action: the
   * same in every such call.
   * Default: a key made of the event ids if the list has more than 1,000 interactions, else none.
   */
  readonly idempotencyKey?: string;
}

/** Options of `deleteUser` and `forgetInteraction`. */
export interface ErasureOptions extends CallOptions {
  /**
   * The id of the receipt: a random UUID of version 4. Calling again with the same id has no further effect until the
   * receipt expires. Default: a new one.
   */
  readonly receiptId?: string;
  /**
   * True: waits until the erasure is done or set aside. If the time is over before, returns a receipt that is pending.
   * Default false.
   */
  readonly wait?: boolean;
}

type Checks<T> = { readonly [K in keyof Required<T>]: (value: unknown, field: string) => void };

const unchecked = () => undefined;
/** Options for programs of this repository, which errors do not offer. */
const OF_OUR_OWN = ['optionNames', 'onFileOutcome'];
const atLeastOne = (value: unknown, field: string) => checkWholeNumber(value, field, 1, Number.MAX_SAFE_INTEGER);

const CLIENT: Checks<ClientOptions> = {
  rankingTarget: checkText,
  interactionTarget: checkText,
  token: checkText,
  tokenFile: checkText,
  tlsCaFile: checkText,
  tlsClientCertFile: checkText,
  tlsClientKeyFile: checkText,
  tlsServerName: checkText,
  optionNames: unchecked,
  onFileOutcome: unchecked,
  useProxy: checkFlag,
  rankTimeoutMs: checkMs,
  recordTimeoutMs: checkMs,
  maxAttempts: atLeastOne,
  rankStreams: checkFlag,
};
const CALL: Checks<CallOptions> = { timeoutMs: checkMs, signal: unchecked };
const ERASURE: Checks<ErasureOptions> = { ...CALL, receiptId: checkReceiptId, wait: checkFlag };
const RECORD: Checks<RecordOptions> = { ...CALL, idempotencyKey: checkText };

/** @throws invalid_request naming the option that is unknown or has a wrong value */
export const checkClientOptions = (options: ClientOptions) => checkAll(options, CLIENT);
/** @throws invalid_request naming the option that is unknown or has a wrong value */
export const checkCallOptions = (options: CallOptions) => checkAll(options, CALL);
/** @throws invalid_request naming the option that is unknown or has a wrong value */
export const checkRecordOptions = (options: RecordOptions) => checkAll(options, RECORD);
/** @throws invalid_request naming the option that is unknown or has a wrong value */
export const checkErasureOptions = (options: ErasureOptions) => checkAll(options, ERASURE);

function checkReceiptId(value: unknown, field: string): void {
  if (value !== undefined) parseReceiptId(value, field);
}

function checkAll<T extends object>(options: T, checks: Checks<T>): void {
  const known = Object.keys(checks);
  checkKeys(
    options,
    known,
    '',
    known.filter((name) => !OF_OUR_OWN.includes(name)),
  );
  for (const [name, value] of Object.entries(options)) checks[name as keyof T](value, name);
}
