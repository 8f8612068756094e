import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Outcome } from './run-scenario.js';

/** A scenario's outcome in the results file. */
export type ResultRow = Outcome & { readonly seed: string; readonly date: string };

/**
 * Writes outcomes to a results file. Rows of other scenarios stay.
 * @param order names of all scenarios, in the order of the file; rows of other names are dropped
 */
export function writeResults(file: string, outcomes: readonly Outcome[], seed: string, order: readonly string[]): void {
  const before = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as ResultRow[]) : [];
  const date = new Date().toISOString().slice(0, 10);
  const rows = new Map(
    [...before, ...outcomes.map((one) => ({ ...one, seed, date }))].map((row) => [row.scenario, row]),
  );
  const ordered = order.flatMap((name) => rows.get(name) ?? []);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(ordered, null, 2)}\n`);
}
