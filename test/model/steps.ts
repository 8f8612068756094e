// The steps of a run: what each does with the write path.
import fc from 'fast-check';
import { USERS } from './feed.js';
import type { Fate } from './redis-link.js';
import { type Happening, inNetwork, inProcess, letPass, tooLate } from './schedule.js';
import { modelNowMs, passTime } from './virtual-time.js';
import type { Actor, Trap, WritePath } from './write-path.js';

/** Runs one happening. */
export type Happen = (happening: Happening) => Promise<void>;

/** A step with its choices made. fast-check prints it as its text. */
export interface Step {
  readonly text: string;
  act(path: WritePath, happen: Happen): void | Promise<void>;
}

/** Most updaters at once. */
const MOST_UPDATERS = 3;
const LONGER_THAN_A_LEASE_MS = 5_001;

/** The steps. A number `who` or `which`, and each of `picks`, chooses among what there is then, modulo its count. */
export const step = {
  /** The backend records events of users. */
  record: (counts: readonly (readonly [userId: string, count: number])[], withKey: boolean) =>
    made('record', [counts, withKey], (path) => path.feed.record(counts, withKey)),
  /** As `record`, with an event of the user whose appends are refused. */
  recordBesideRefused: (userId: string, count: number) =>
    made('record beside a refused one', [userId, count], (path) => {
      path.feed.record(
        [
          [userId, count],
          [USERS.poison, 1],
        ],
        false,
      );
    }),
  forget: (userId: string, back: number) => made('forget', [userId, back], (path) => path.feed.forget(userId, back)),
  deleteUser: (userId: string) => made('delete', [userId], (path) => path.feed.deleteUser(userId)),
  goAstray: () => made('go astray', [], (path) => path.feed.goAstray()),
  sendUnreadable: () => made('send what is not JSON', [], (path) => path.feed.sendUnreadable()),
  /** One updater works, and with it all that is not an updater. */
  work: (who: number, picks: readonly number[]) =>
    made('work', [who, picks], (path, happen) => {
      const updater = chosen(ofKind(path, 'updater'), who);
      const actors = () => path.actors().filter((actor) => actor.kind !== 'updater' || actor === updater);
      const ready = () => actors().flatMap((actor) => [...inProcess(path, actor), ...inNetwork(path, actor)]);
      return pickAmong(picks, ready, happen);
    }),
  /** Redis and the network work; no process does. */
  flow: (picks: readonly number[]) =>
    made('flow', [picks], (path, happen) => {
      return pickAmong(picks, () => path.actors().flatMap((actor) => inNetwork(path, actor)), happen);
    }),
  /** Everything works for a while. */
  pass: (ms: number) => made('pass', [ms], (path, happen) => letPass(path, ms, happen)),
  /** Nothing works for a while. */
  wait: (ms: number) => made('wait', [ms], () => passTime(ms)),
  /** A connection to Redis breaks. New ones are refused for a while. */
  cut: (who: number, fate: Fate, awayMs: number) =>
    made('cut', [who, fate, awayMs], (path) => {
      const link = chosen(path.actors(), who)?.link;
      link?.refuse(modelNowMs() + awayMs);
      link?.cut(fate);
    }),
  /** A fault waits for a call. */
  trap: (call: string, fault: Trap['fault'], fate: Fate) =>
    made('trap', [call, fault, fate], (path) => path.setTrap({ call, fault, fate })),
  /** A call to a user-cache fails for its updater. */
  failCall: (which: number, reason: 'deadline' | 'dependency_unavailable', fate: Fate) =>
    made('fail a call', [which, reason, fate], (path) => {
      chosen(
        path.cacheCalls.all().filter((call) => call.isAwaited()),
        which,
      )?.fail(reason, fate);
    }),
  /** What is late happens. */
  late: (picks: readonly number[]) =>
    made('late', [picks], (path, happen) => pickAmong(picks, () => tooLate(path), happen)),
  kill: (who: number, fate: Fate) =>
    made('kill', [who, fate], (path) => {
      const actor = chosen(path.actors(), who);
      if (actor) path.kill(actor, fate);
    }),
  start: () =>
    made('start', [], (path) => {
      if (ofKind(path, 'updater').length < MOST_UPDATERS) path.startUpdater();
    }),
  /** An updater shuts down in order. */
  stop: (who: number) =>
    made('stop', [who], (path) => {
      const updater = chosen(
        ofKind(path, 'updater').filter(({ stopping }) => !stopping),
        who,
      );
      if (!updater) return;
      updater.stopping = true;
      updater.stop();
    }),
  stall: (who: number) =>
    made('stall', [who], (path) => {
      const actor = chosen(path.actors(), who);
      if (actor) actor.stalled = true;
    }),
  /** A stalled process goes on. */
  goOn: (which: number) =>
    made('go on', [which], (path) => {
      const actor = chosen(
        path.actors().filter(({ stalled }) => stalled),
        which,
      );
      if (actor) actor.stalled = false;
    }),
  /** An updater stalls until its leases have ended, and the others work for a while. */
  oversleep: (who: number, ms: number) =>
    made('oversleep', [who, ms], async (path, happen) => {
      const actor = chosen(ofKind(path, 'updater'), who);
      if (!actor) return;
      actor.stalled = true;
      passTime(LONGER_THAN_A_LEASE_MS);
      await letPass(path, ms, happen);
      actor.stalled = false;
    }),
} as const;

function made(name: string, choices: readonly unknown[], act: Step['act']): Step {
  const text = [name, ...choices.map((choice) => JSON.stringify(choice))].join(' ');
  return { text, act, [fc.toStringMethod]: () => text } as Step;
}

function chosen<T>(list: readonly T[], choice: number): T | undefined {
  return list[choice % Math.max(1, list.length)];
}

function ofKind(path: WritePath, kind: Actor['kind']): Actor[] {
  return path.actors().filter((actor) => actor.kind === kind);
}

async function pickAmong(picks: readonly number[], ready: () => readonly Happening[], happen: Happen): Promise<void> {
  for (const pick of picks) {
    const next = chosen(ready(), pick);
    if (next) await happen(next);
  }
}
