// Chooses what happens next, among the things that may happen.
import type { CacheCall } from './cache-calls.js';
import type { RedisLink } from './redis-link.js';
import { duePauses, modelNowMs, nextDueMs, passTime } from './virtual-time.js';
import type { Actor, WritePath } from './write-path.js';

/** Something that may happen now. */
export interface Happening {
  readonly text: string;
  happen(): void | Promise<void>;
}

/** A server that sends nothing for so long counts as away, as in packages/redis-connection. */
const SILENCE_MS = 5_000;

/** Returns what may happen to the commands and calls under way: Redis executes, calls arrive. */
export function inNetwork(path: WritePath, actor: Actor): Happening[] {
  const happenings: Happening[] = [];
  const [next] = actor.link.sent;
  if (next)
    happenings.push({ text: `Redis executes ${next.name} of ${actor.name}`, happen: () => actor.link.execute() });
  for (const call of path.cacheCalls.all()) {
    if (call.cache !== actor.name || !call.isTravelling() || !call.isAwaited() || actor.stalled) continue;
    happenings.push({ text: `${call.method} of ${call.caller} arrives at ${actor.name}`, happen: () => call.arrive() });
  }
  return happenings;
}

/** Returns what a process may do next. */
export function inProcess(path: WritePath, actor: Actor): Happening[] {
  if (actor.stalled) return [];
  const { name, link } = actor;
  const happenings: Happening[] = [];
  if (link.answeredCount() > 0) happenings.push({ text: `${name} receives a reply`, happen: () => link.receive() });
  else if (modelNowMs() - link.oldestMs() > SILENCE_MS) {
    happenings.push({ text: `${name} gives its connection up`, happen: () => link.cut('late') });
  }
  for (const call of path.cacheCalls.all().filter(({ caller }) => caller === name)) {
    if (call.isAnswered()) happenings.push(answerOf(call));
    else if (call.isAwaited() && modelNowMs() > call.deadlineMs) {
      happenings.push({ text: `${call.method} of ${name} is too late`, happen: () => call.fail('deadline', 'late') });
    }
  }
  for (const pause of duePauses(name)) happenings.push({ text: `${name} goes on`, happen: () => pause.wake() });
  return happenings;
}

/** Returns what may still happen after its sender gave up or died. */
export function tooLate(path: WritePath): Happening[] {
  const happenings: Happening[] = [];
  for (const { owner, link } of path.links) {
    for (const [connection, calls] of link.late().entries())
      happenings.push(lateCommand(owner, link, connection, calls));
  }
  for (const call of path.cacheCalls.all()) {
    if (call.isTravelling() && !call.isAwaited()) {
      happenings.push({ text: `late: ${call.method} of ${call.caller} arrives`, happen: () => call.arrive() });
    }
  }
  return happenings;
}

function lateCommand(
  owner: string,
  link: RedisLink,
  connection: number,
  calls: ReturnType<RedisLink['late']>[number],
): Happening {
  const [next] = calls;
  return { text: `late: Redis executes ${next?.name} of ${owner}`, happen: () => link.executeLate(connection) };
}

function answerOf(call: CacheCall): Happening {
  return { text: `${call.caller} receives the answer to ${call.method}`, happen: () => call.receive() };
}

/** Waits until no process can go on by itself. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 2; i++) await new Promise(setImmediate);
}

/** Lets everything happen that may, in turns, for some time of the model. `happen` runs one happening. */
export async function letPass(
  path: WritePath,
  ms: number,
  happen: (happening: Happening) => Promise<void>,
  isDone: () => Promise<boolean> = async () => false,
): Promise<void> {
  const endMs = modelNowMs() + ms;
  for (let turn = 0; ; turn++) {
    const ready = path.actors().flatMap((actor) => [...inProcess(path, actor), ...inNetwork(path, actor)]);
    const next = ready[turn % ready.length];
    if (next) {
      await happen(next);
      continue;
    }
    if (await isDone()) return;
    const awake = path.actors().filter(({ stalled }) => !stalled);
    const dueMs = nextDueMs(awake.map(({ name }) => name));
    const pauseMs = Math.min(dueMs, endMs) - modelNowMs();
    passTime(Math.max(1, pauseMs));
    if (modelNowMs() >= endMs) return;
  }
}
