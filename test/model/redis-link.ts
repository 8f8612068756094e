// A process's connection to Redis, in the hands of the schedule. The process uses an ordinary client. Each command
// waits until the schedule lets Redis execute it, and its reply waits until the schedule lets the process receive it.
import type { RedisClient } from '@collectivekv/redis-connection';
import { type Context, contextNow, modelNowMs } from './virtual-time.js';

/** A command on its way. */
export interface Sent {
  /** Name of the script, or of the command. */
  readonly name: string;
  /** The script's keys and arguments, or the command's arguments. */
  readonly args: readonly unknown[];
  readonly from: Context | undefined;
  readonly sentMs: number;
}

/** What Redis answered. */
export type Reply = { readonly value: unknown } | { readonly error: Error };

/** What becomes of the commands that Redis has not executed when a connection breaks. */
export type Fate = 'late' | 'lost';

/** See the file's head. */
export interface RedisLink {
  /** Client for the process. */
  readonly client: RedisClient;
  /** Commands that Redis has not executed, in order. */
  readonly sent: readonly Sent[];
  /** Number of replies that the process has not received. */
  answeredCount(): number;
  /** Unix ms at which the oldest command without a received reply was sent; infinite without one. */
  oldestMs(): number;
  /** Lets Redis execute the oldest command. */
  execute(): Promise<void>;
  /** Lets the process receive the oldest reply. */
  receive(): void;
  /** Breaks the connection: every command without a reply fails. The process connects again at once. */
  cut(fate: Fate): void;
  /** Refuses commands until that time of the model, Unix ms. */
  refuse(untilMs: number): void;
  /** The process dies: it receives nothing more. */
  die(fate: Fate): void;
  /** Commands of broken connections that may still reach Redis, each list in order. */
  late(): readonly (readonly Sent[])[];
  /** Lets Redis execute the oldest command of a broken connection. */
  executeLate(connection: number): Promise<void>;
  /** Forgets all commands, and who listens to the client. */
  reset(): void;
}

/** Sees each command as Redis executes it. */
export interface LinkWatch {
  sent(sent: Sent): void;
  before(sent: Sent): Promise<void>;
  after(sent: Sent, reply: Reply): Promise<void>;
}

/** The part of an ioredis command that a link uses. */
interface Command {
  readonly name: string;
  readonly args: unknown[];
  readonly promise: Promise<unknown>;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

interface Call extends Sent {
  readonly command: Command;
  readonly settle: { resolve(value: unknown): void; reject(error: Error): void };
}

type Scripts = Readonly<Record<string, { readonly sha: string }>>;

/** The part of an ioredis client that a link replaces. */
interface Sender {
  status: string;
  readonly scriptsSet: Scripts;
  defineCommand(name: string, script: { lua: string; numberOfKeys?: number }): void;
  duplicate(options?: object): Sender;
  disconnect(): void;
  removeAllListeners(): void;
  sendCommand(command: Command, stream?: unknown): Promise<unknown>;
}

/** Commands that BullMQ sends as it opens a queue, and their answers. The schedule does not see them. */
const AT_ONCE: Readonly<Record<string, string>> = { info: 'redis_version:7.2.0\r\n', hmset: 'OK', hset: '0' };

/** Creates links of one kind. A link that was given back serves again: BullMQ's scripts take long to define. */
export interface LinkPool {
  open(watch: LinkWatch): RedisLink;
  giveBack(link: RedisLink): void;
}

/**
 * Creates a pool.
 * @param redis the connection that executes the commands of all links
 * @param scriptOf changes a script before Redis gets it
 */
export function createLinkPool(redis: RedisClient, scriptOf: (name: string, lua: string) => string): LinkPool {
  const free: RedisLink[] = [];
  const watches = new Map<RedisLink, LinkWatch>();
  const server = redis as unknown as Sender;
  const silent = createSilentClient(server);
  return {
    open(watch) {
      const link: RedisLink = free.pop() ?? createRedisLink(server, silent, scriptOf, () => watches.get(link) ?? watch);
      watches.set(link, watch);
      return link;
    },
    giveBack(link) {
      link.reset();
      free.push(link);
    },
  };
}

function createRedisLink(
  redis: Sender,
  silent: Sender,
  scriptOf: (name: string, lua: string) => string,
  watch: () => LinkWatch,
): RedisLink {
  const client = redis.duplicate({ lazyConnect: true });
  client.status = 'ready';
  const names = new Map<string, string>(); // by sha1
  const defined = new Map<string, string>(); // Lua by name
  const sent: Call[] = [];
  let answered: { readonly call: Call; readonly reply: Reply }[] = [];
  let late: Call[][] = [];
  let refusedUntilMs = 0;

  const define = client.defineCommand.bind(client);
  client.defineCommand = (name, script) => {
    if (defined.get(name) === script.lua) return;
    defined.set(name, script.lua);
    define(name, { ...script, lua: scriptOf(name, script.lua) });
    names.set(client.scriptsSet[name]?.sha ?? '', name);
  };
  client.duplicate = () => silent;
  client.sendCommand = (command, stream) => {
    if (stream !== undefined) throw new Error('the model has no pipelines');
    if (answerAtOnce(redis, command)) return command.promise;
    if (modelNowMs() < refusedUntilMs) {
      command.reject(new Error("Stream isn't writeable and enableOfflineQueue options is false"));
      return command.promise;
    }
    const isScript = command.name === 'evalsha';
    const name = isScript ? names.get(String(command.args[0])) : command.name;
    const call: Call = {
      name: name ?? 'unknown script',
      args: isScript ? command.args.slice(2) : [...command.args],
      from: contextNow(),
      sentMs: modelNowMs(),
      command,
      settle: { resolve: command.resolve, reject: command.reject },
    };
    sent.push(call);
    watch().sent(call);
    return command.promise;
  };

  async function executeOne(call: Call): Promise<Reply> {
    await watch().before(call);
    const { command } = call;
    const reply = await new Promise<Reply>((resolve) => {
      command.resolve = (value) => resolve({ value });
      command.reject = (error) => resolve({ error });
      void redis.sendCommand(command);
    });
    await watch().after(call, reply);
    return reply;
  }

  function unanswered(): Call[] {
    return [...answered.map(({ call }) => call), ...sent];
  }

  function die(fate: Fate): void {
    if (fate === 'late' && sent.length > 0) late.push([...sent]);
    sent.length = 0;
    answered = [];
  }

  return {
    client: client as unknown as RedisClient,
    sent,
    answeredCount: () => answered.length,
    oldestMs: () => Math.min(...unanswered().map(({ sentMs }) => sentMs), Number.POSITIVE_INFINITY),
    async execute() {
      const call = sent.shift();
      if (call) answered.push({ call, reply: await executeOne(call) });
    },
    receive() {
      const oldest = answered.shift();
      if (!oldest) return;
      const { settle } = oldest.call;
      if ('error' in oldest.reply) settle.reject(oldest.reply.error);
      else settle.resolve(oldest.reply.value);
    },
    cut(fate) {
      const failed = unanswered();
      die(fate);
      for (const { settle } of failed) settle.reject(new Error('Connection is closed.'));
    },
    refuse(untilMs) {
      refusedUntilMs = untilMs;
    },
    die,
    late: () => late,
    async executeLate(connection) {
      const call = late[connection]?.shift();
      late = late.filter((calls) => calls.length > 0);
      if (call) await executeOne(call);
    },
    reset() {
      die('lost');
      late = [];
      refusedUntilMs = 0;
      client.removeAllListeners();
    },
  };
}

/** The client that every queue of BullMQ opens beside the one it was given, and does not use. It cannot be closed. */
function createSilentClient(redis: Sender): Sender {
  const client = redis.duplicate({ lazyConnect: true });
  Object.defineProperty(client, 'status', { get: () => 'ready', set: () => undefined });
  client.disconnect = () => undefined;
  client.sendCommand = (command) => {
    answerAtOnce(redis, command);
    return command.promise;
  };
  return client;
}

/** Answers a command that the schedule does not see. Returns false for any other command. */
function answerAtOnce(redis: Sender, command: Command): boolean {
  const answer = AT_ONCE[command.name];
  if (answer === undefined) return false;
  const { resolve } = command;
  command.resolve = () => undefined;
  void redis.sendCommand(command);
  resolve.call(command, Buffer.from(answer));
  return true;
}
