import { readFileSync } from 'node:fs';
import { CkvError, invalidRequest } from '@collectivekv/domain';
import { z } from 'zod';
import { cannotBeRead } from '../file-problems.js';
import type { ServiceCosts } from './service-costs.js';

const cost = z.number().positive().max(1e6);
const processCost = z.object({ cpuMs: cost, mainThreadMs: cost.optional() });
const bytes = z
  .number()
  .positive()
  .max(2 ** 50);
const text = z.string().max(1_000);
const fileSchema = z.object({
  costs: z.object({
    machine: text,
    workload: text,
    rank: z.object({ ranking: processCost, recordsRedisMs: cost }),
    interaction: z.object({
      updater: processCost,
      'user-cache': processCost,
      recordsRedisMs: cost,
      queueRedisMs: cost,
    }),
    residentBytes: z.object({ ranking: bytes, updater: bytes, 'user-cache': bytes, pool: bytes }),
    recordUsedBytes: bytes,
  }),
});

/**
 * Reads the measured figures in a file that `ckv --json plan --measure` printed.
 * @throws invalid_request if the file cannot be read, or has no such figures
 */
export function readCosts(path: string): ServiceCosts {
  const remedy = 'name a file with what "ckv --json plan --measure" printed';
  let content: unknown;
  try {
    content = JSON.parse(textOf(path, remedy));
  } catch (error) {
    if (error instanceof CkvError) throw error;
    throw invalidRequest('--measured', `${path} cannot be read as JSON: ${(error as Error).message}`, remedy);
  }
  const { success, data, error } = fileSchema.safeParse(content);
  if (success) return data.costs;
  const [issue] = error.issues;
  throw invalidRequest(
    '--measured',
    `${path} has no measured figures: ${issue?.path.join('.')}: ${issue?.message}`,
    remedy,
  );
}

function textOf(path: string, remedy: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    return cannotBeRead(`--measured ${path}`, error, remedy);
  }
}
