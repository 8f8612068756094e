import { CkvError } from '@collectivekv/domain';
import { Cluster, type Command, type Redis } from 'ioredis';

/** When the answer of a write may be used. */
export interface Confirmation {
  /** Replicas that must have the write, at least 1. */
  readonly replicaCount: number;
  /** Longest wait for them, ms. Commands behind the write wait as long. */
  readonly timeoutMs: number;
}

/** Commands that write nothing. All others are confirmed: a script may write. */
const READS = new Set(
  'exists get getrange hget hgetall hlen hmget keys llen lrange memory mget scan scard smembers strlen time ttl type xlen xrange zcard zrange zscore'.split(
    ' ',
  ),
);
/** Commands of the connection itself. */
const OWN = new Set(
  'acl asking auth client cluster command config discard echo hello info multi ping psubscribe quit readonly role script select sentinel subscribe unsubscribe unwatch wait watch'.split(
    ' ',
  ),
);

/**
 * Withholds the answers of all writes until replicas have them, by Redis's WAIT. The writes of a turn of the event loop
 * share one WAIT. It follows them on the same connection, because Redis counts the writes of a connection.
 *
 * A write without enough replicas fails with dependency_unavailable, although the primary has it. So only writes that
 * may be repeated can be confirmed: a repeated one must write something too, or its WAIT says nothing.
 */
export function confirmWrites(client: Redis | Cluster, confirmation: Confirmation): void {
  if (!(client instanceof Cluster)) {
    confirmNode(client, confirmation);
    return;
  }
  for (const node of client.nodes('all')) confirmNode(node, confirmation);
  client.on('+node', (node: Redis) => confirmNode(node, confirmation));
}

function confirmNode(node: Redis, confirmation: Confirmation): void {
  const send = node.sendCommand.bind(node);
  /** Resolves when replicas have the writes of this turn of the event loop. Undefined before the first of them. */
  let confirmed: Promise<void> | undefined;
  const untilConfirmed = () => {
    confirmed ??= new Promise((resolve, reject) => {
      const { stream } = node;
      setImmediate(() => {
        confirmed = undefined;
        waitForReplicas(node, stream, confirmation).then(resolve, reject);
      });
    });
    return confirmed;
  };
  node.sendCommand = (command, stream) => {
    if (node.status === 'ready' && mayWrite(command)) answerAfter(command, untilConfirmed());
    return send(command, stream);
  };
}

function mayWrite({ name, inTransaction }: Command): boolean {
  return !inTransaction && !READS.has(name) && !OWN.has(name);
}

function answerAfter(command: Command, confirmed: Promise<void>): void {
  const { resolve, reject } = command;
  confirmed.catch(() => undefined); // the command itself may fail first
  command.resolve = (answer) => void confirmed.then(() => resolve(answer), reject);
}

async function waitForReplicas(
  node: Redis,
  stream: Redis['stream'],
  { replicaCount, timeoutMs }: Confirmation,
): Promise<void> {
  const count = await node.wait(replicaCount, timeoutMs).catch((cause: Error) => {
    // A primary that has become a replica answers ERR, as it does to a wrong command.
    throw unconfirmed('Redis did not say whether replicas have a write', cause);
  });
  if (node.stream !== stream) throw unconfirmed('the connection closed before replicas confirmed a write');
  if (count >= replicaCount) return;
  const error = unconfirmed(
    `${count} of ${replicaCount} replicas confirmed a write within ${timeoutMs} ms; add replicas, or lower CKV_CONFIRM_REPLICAS`,
  );
  replicasLacked.add(error);
  throw error;
}

const replicasLacked = new WeakSet<Error>();

/** True for the error of a write that too few replicas confirmed, while Redis answered. */
export function lacksReplicas(error: Error): boolean {
  return replicasLacked.has(error);
}

function unconfirmed(message: string, cause?: Error): CkvError {
  return new CkvError('dependency_unavailable', message, { retryAfterMs: 100, cause });
}
