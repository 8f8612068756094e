// Attacks one parser in this process, and reports to the process that forked it. Arguments: surface, seed, count.
import { keptMb } from './kept-memory.js';
import { PARSER_SURFACES, type ParserSurfaceName } from './parser-surfaces.js';

const [name = '', seed, count] = process.argv.slice(2);
process.on('disconnect', () => process.exit(1)); // the run was ended

const surface = await PARSER_SURFACES[name as ParserSurfaceName]();
const warmUp = Math.ceil(Number(count) / 5);
const onProgress = (inputs: number) => process.send?.({ inputs });
const first = await surface.attack({ seed: Number(seed) + 1, count: warmUp, onProgress });
const beforeMb = await keptMb();
const rest = await surface.attack({ seed: Number(seed), count: Number(count) - warmUp, onProgress });
const afterMb = await keptMb();
await surface.close();
process.send?.({ first, rest, beforeMb, afterMb }, () => process.exit(0));
