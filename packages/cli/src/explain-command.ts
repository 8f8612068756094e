import { writeFile } from 'node:fs/promises';
import { invalidRequest, LIMITS } from '@collectivekv/domain';
import { Command } from 'commander';
import type { Connections } from './connections.js';
import { explanationPage, explanationSvg } from './explanation-picture.js';
import { type ExplainedItem, explanationText } from './explanation-text.js';
import { cannotBeWritten } from './file-problems.js';
import { type RequestOptions, requestOf, withRequestOptions } from './request-options.js';

interface Options extends RequestOptions {
  readonly svg?: string;
  readonly html?: string;
}

/** Creates `ckv explain`. */
export function explainCommand(connections: Connections): Command {
  const command = new Command('explain')
    .description('show which positions of the history a score comes from')
    .argument('<user>', 'user id')
    .argument('<items...>', `candidate item ids, at most ${LIMITS.explainedCandidates}`)
    .option('--svg <file>', 'also write a picture of the contributions, one panel for each item')
    .option('--html <file>', 'also write a page with the picture and the tables');
  return withRequestOptions(command).action(
    async (userId: string, candidateIds: string[], options: Options, command: Command) => {
      const request = await requestOf(connections, { userId, candidateIds, options, command });
      const { scores, info, explanation } = await connections.client().rank({ ...request, explain: true });
      if (!explanation) {
        throw invalidRequest('--ranking', 'is a service that explains no scores', 'update the ranking service');
      }
      const items = explanation.candidates.map((candidate, i): ExplainedItem => {
        return { itemId: candidateIds[i] ?? '', score: scores[i] ?? 0, ...candidate };
      });
      if (options.svg !== undefined) await write('--svg', options.svg, explanationSvg(explanation, items));
      if (options.html !== undefined) await write('--html', options.html, explanationPage(explanation, items, info));
      connections.print({ info, explanation: jsonOf(explanation, items) }, () =>
        explanationText(explanation, items, info),
      );
    },
  );
}

async function write(option: string, path: string, text: string): Promise<void> {
  await writeFile(path, text).catch((cause) => cannotBeWritten(`${option} ${path}`, cause));
}

/** Returns an explanation with arrays in place of typed arrays, which JSON would write as objects. */
function jsonOf(explanation: object, candidates: readonly ExplainedItem[]): object {
  const plain = (value: unknown) => (ArrayBuffer.isView(value) ? Array.from(value as Float32Array) : value);
  return JSON.parse(JSON.stringify({ ...explanation, candidates }, (_, value) => plain(value)));
}
