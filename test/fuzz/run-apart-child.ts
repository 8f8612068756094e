// Attacks one parser in this process, and reports to the process that forked it. Arguments: door, seed, count.
import { PARSER_DOORS, type ParserDoorName } from './parser-doors.js';

const [name = '', seed, count] = process.argv.slice(2);
const MB = 1024 * 1024;
process.on('disconnect', () => process.exit(1)); // the run was ended

/** Collects the garbage, and returns the memory that is kept, MB. */
function keptMb(): number {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / MB;
}

const door = await PARSER_DOORS[name as ParserDoorName]();
const warmUp = Math.ceil(Number(count) / 5);
const onProgress = (inputs: number) => process.send?.({ inputs });
const first = await door.attack({ seed: Number(seed) + 1, count: warmUp, onProgress });
const beforeMb = keptMb();
const rest = await door.attack({ seed: Number(seed), count: Number(count) - warmUp, onProgress });
const afterMb = keptMb();
await door.close();
process.send?.({ first, rest, beforeMb, afterMb }, () => process.exit(0));
