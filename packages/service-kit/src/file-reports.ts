import type { FileOutcome } from '@collectivekv/credentials';
import { Gauge } from 'prom-client';
import type { Logger } from './log.js';
import type { Metrics } from './metrics.js';

/**
 * Returns a function that logs what became of changed certificate and token files. A gauge is 1 for each variable whose
 * file has a problem: its former content stays in use.
 */
export function createFileReports(log: Pick<Logger, 'info' | 'error'>, metrics: Metrics) {
  const problems = new Gauge({
    name: 'ckv_credential_file_problem',
    help: '1 while the content of a certificate, key or token file cannot be used, and the former content is in use',
    labelNames: ['variable'] as const,
    registers: [metrics.registry],
  });
  return ({ field, problem }: FileOutcome): void => {
    problems.set({ variable: field }, problem ? 1 : 0);
    if (problem) log.error({ problem: problem.message }, 'a changed file is not used');
    else log.info({ variable: field }, 'a changed file is used');
  };
}
