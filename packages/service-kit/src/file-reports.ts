import type { FileOutcome } from '@collectivekv/credentials';
import { Gauge } from 'prom-client';
import type { Logger } from './log.js';
import type { Metrics } from './metrics.js';

/**
 * Returns a function that logs what became of changed certificate and token files. A gauge is 1 for each variable while
 * any reader of its file has a problem with it: this reader keeps the former content in use.
 */
export function createFileReports(log: Pick<Logger, 'info' | 'error'>, metrics: Metrics) {
  const problems = new Gauge({
    name: 'ckv_credential_file_problem',
    help: '1 while the content of a certificate, key or token file cannot be used, and the former content is in use',
    labelNames: ['variable'] as const,
    registers: [metrics.registry],
  });
  const troubled = new Map<string, Set<object>>();
  return ({ field, reader, problem }: FileOutcome): void => {
    const readers = troubled.get(field) ?? new Set();
    troubled.set(field, readers);
    if (problem) readers.add(reader);
    else readers.delete(reader);
    problems.set({ variable: field }, readers.size > 0 ? 1 : 0);
    if (problem) log.error({ problem: problem.message }, 'a changed file is not used');
    else log.info({ variable: field }, 'a changed file is used');
  };
}
