import { createHash } from 'node:crypto';
import { CkvError, invalidRequest } from '@collectivekv/domain';
import { type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import { readScript } from './lua-script.js';
import { receiptKey } from './queue-names.js';
import type { Erasure, ErasureSubject } from './strip-job.js';

/** What an erasure did, without the name of the user. */
export interface ErasureReport {
  /** The encodings under which the user had something. */
  readonly encodings: readonly EncodingErasure[];
  /** As in `ErasedJobs`. */
  readonly setAsideCount: number;
  readonly waitingCount: number;
  readonly keptCount: number;
}

/** What an erasure did under one encoding. */
export interface EncodingErasure {
  /** Of a record from before records were bound to encodings: the id of its bundle. */
  readonly encodingId: string;
  /** Records deleted as a whole: 0 or 1. */
  readonly recordCount: number;
  /** Unreadable records deleted: the record itself, and one that an append had moved to another key. 0 to 2. */
  readonly unreadableCount: number;
  /** Positions deleted: those of the deleted record, or one of a record that stays. */
  readonly positionCount: number;
  /**
   * What may remain:
   * - `nothing`
   * - `later_rows`: rows that were encoded behind the deleted one, and learned from it.
   * - `not_found`: the position, if there is one. It is older than the ring, and could not be found by its row.
   */
  readonly remainder: 'nothing' | 'later_rows' | 'not_found';
}

/** A receipt of an erasure. It names no user. */
export interface Receipt {
  readonly id: string;
  readonly kind: 'delete' | 'forget';
  /** `aside`: the erasure's job was set aside, and nothing or a part was erased. */
  readonly state: 'pending' | 'aside' | 'done';
  /** Unix ms by Redis's clock. */
  readonly requestedAtMs: number;
  /** Unix ms by Redis's clock; 0 until the erasure is done. */
  readonly doneAtMs: number;
  /** How often the erasure was begun. After more than one try, the report may lack what a failed try erased. */
  readonly tryCount: number;
  /** How often the erasure's job was set aside. */
  readonly asideCount: number;
  /** Undefined until the erasure is done. */
  readonly report: ErasureReport | undefined;
}

/** The receipts, on the server of the queue. Every method throws dependency_unavailable if it cannot be reached. */
export interface Receipts {
  /** Returns a receipt; undefined if there is none, or it has expired. */
  get(receiptId: string): Promise<Receipt | undefined>;
  /**
   * Creates the receipt of an erasure for a minute, unless there is one. Call it before the job is queued.
   * @throws invalid_request if the receipt is of another erasure
   */
  claim(erasure: Erasure): Promise<Receipt>;
  /**
   * Notes that the erasure's job is queued, also if it was set aside before: it is pending again.
   * @param claimed what `claim` returned
   */
  open(erasure: Erasure, claimed?: Pick<Receipt, 'asideCount'>): Promise<Receipt>;
  /** Notes that a try begins. Returns the receipt: if it is done, nothing is left to do. */
  begin(erasure: Erasure): Promise<Receipt>;
  /** Notes that the erasure is done. */
  finish(erasure: Erasure, report: ErasureReport): Promise<void>;
  /** Notes that the erasure's job was set aside. */
  setAside(erasure: Erasure): Promise<void>;
}

/** Options of {@link openReceipts}. */
export interface ReceiptOptions {
  readonly client: RedisClient;
  readonly keyPrefix: string;
  /** A receipt expires after this time without a step, s. */
  readonly ttlS: number;
}

interface Commands {
  ckvNoteReceipt(...args: (string | number)[]): Promise<string[]>;
}

/** Opens the receipts. */
export function openReceipts({ client, keyPrefix, ttlS }: ReceiptOptions): Receipts {
  client.defineCommand('ckvNoteReceipt', readScript('note-receipt-1.lua'));
  const commands = client as unknown as Commands;

  async function note(step: string, erasure: Erasure, argument = ''): Promise<Receipt> {
    const { receiptId } = erasure;
    const [kind, check] = [kindOf(erasure), checkOf(erasure)];
    const key = receiptKey(keyPrefix, receiptId);
    const flat = await reachingRedis(() => commands.ckvNoteReceipt(key, ttlS, step, kind, check, argument));
    const fields: Record<string, string> = {};
    for (let i = 0; i < flat.length; i += 2) fields[flat[i] ?? ''] = flat[i + 1] ?? '';
    if (fields.kind !== kind || fields.check !== check) {
      throw invalidRequest('receipt_id', 'is the receipt of another erasure', 'send a new random UUID, or none');
    }
    return receiptOf(receiptId, fields);
  }

  return {
    async get(receiptId) {
      const fields = await reachingRedis(() => client.hgetall(receiptKey(keyPrefix, receiptId)));
      return fields.state === undefined ? undefined : receiptOf(receiptId, fields);
    },
    claim: (erasure) => note('claim', erasure),
    open: (erasure, { asideCount } = { asideCount: 0 }) => note('open', erasure, String(asideCount)),
    begin: (erasure) => note('try', erasure),
    async finish(erasure, report) {
      await note('done', erasure, JSON.stringify(report));
    },
    async setAside(erasure) {
      await note('aside', erasure);
    },
  };
}

/** Returns the error for an id without a receipt. */
export function noReceipt(): CkvError {
  const text = 'receipt_id: no receipt has this id, or it has expired; the erasure may still be queued';
  return new CkvError('receipt_not_found', text, { field: 'receipt_id' });
}

function kindOf({ eventId }: ErasureSubject): Receipt['kind'] {
  return eventId === undefined ? 'delete' : 'forget';
}

/** Returns one byte that mostly differs for another subject. It is too short to tell whose receipt it is. */
function checkOf({ receiptId, userId, eventId = '' }: Erasure): string {
  const parts = [receiptId, userId, eventId].map((part) => `${part.length}:${part}`);
  return createHash('sha256').update(parts.join('')).digest('hex').slice(0, 2);
}

function receiptOf(id: string, fields: Readonly<Record<string, string>>): Receipt {
  const { kind, state, requestedAtMs = '0', doneAtMs = '0', tries = '0', asides = '0', report } = fields;
  return {
    id,
    kind: kind === 'forget' ? 'forget' : 'delete',
    state: state === 'done' || state === 'aside' ? state : 'pending',
    requestedAtMs: Number(requestedAtMs),
    doneAtMs: Number(doneAtMs),
    tryCount: Number(tries),
    asideCount: Number(asides),
    report: report === undefined ? undefined : reportOf(JSON.parse(report)),
  };
}

/** A report as receipts stored it before records were bound to encodings. */
type BundleReport = Omit<ErasureReport, 'encodings'> & {
  readonly bundles: readonly (Omit<EncodingErasure, 'encodingId'> & { readonly bundleId: string })[];
};

function reportOf(stored: ErasureReport | BundleReport): ErasureReport {
  if (!('bundles' in stored)) return stored;
  const { bundles, ...counts } = stored;
  return { ...counts, encodings: bundles.map(({ bundleId, ...erased }) => ({ encodingId: bundleId, ...erased })) };
}
