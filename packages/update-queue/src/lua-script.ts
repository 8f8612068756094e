import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** A Lua script, ready for a client's `defineCommand`. */
export interface LuaScript {
  readonly lua: string;
  /** Undefined: each call begins with its number of keys. */
  readonly numberOfKeys?: number;
}

/** A script as BullMQ ships it, its own includes resolved. */
interface ShippedScript {
  readonly content: string;
}

const shipped = createRequire(import.meta.url);

/**
 * Reads a script of the lua folder. Its file's name ends with its number of keys: `take-jobs-13.lua`, or
 * `find-mentions-1n.lua`, whose calls say how many. A line `-- include NAME` stands for the file
 * `lua/includes/NAME.lua`, or for BullMQ's script of that name.
 * @param bullmq names of the included BullMQ scripts, each with its number of keys: `moveToActive-11`
 */
export function readScript(file: string, bullmq: readonly string[] = []): LuaScript {
  const keyCount = /-(\d+)\.lua$/.exec(file)?.[1];
  const source = readLua(file);
  const lua = source.replace(/^ *-- include (\w+)$/gm, (_, name: string) => {
    const fromBullmq = bullmq.find((script) => script.startsWith(`${name}-`));
    return fromBullmq ? shippedScript(name, fromBullmq) : readLua(`includes/${name}.lua`);
  });
  return keyCount === undefined ? { lua } : { lua, numberOfKeys: Number(keyCount) };
}

/**
 * Returns the name under which BullMQ calls one of its scripts on a client. A command that is defined already stays.
 */
export function bullmqCommand(script: string): string {
  const { version } = shipped('bullmq/dist/cjs/version.js') as { version: string };
  return `${script}:${version}`;
}

function readLua(path: string): string {
  return readFileSync(new URL(`../lua/${path}`, import.meta.url), 'utf8');
}

function shippedScript(name: string, file: string): string {
  const scripts = shipped(`bullmq/dist/cjs/scripts/${file}.js`) as Record<string, ShippedScript>;
  const script = scripts[name];
  if (!script) throw new Error(`BullMQ ships no script ${name} in ${file}.js`);
  return script.content;
}
