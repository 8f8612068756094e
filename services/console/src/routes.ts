import { invalidRequest, LIMITS, parseId } from '@collectivekv/domain';
import { z } from 'zod';
import { readBundles } from './bundles-view.js';
import type { Changes } from './changes.js';
import type { Fleet } from './fleet/fleet.js';
import type { Route, Routes } from './http/page-server.js';
import { readPool } from './pool-view.js';
import { requireQueue, type ShownQueue } from './queue-view.js';
import type { Upstream } from './upstream.js';
import { readHistory } from './users/history.js';
import { explainItems, scoreItems } from './users/scores.js';
import type { SessionView } from './views.js';

/** Most positions of one look at a history. */
const MAX_SHOWN_POSITIONS = 1_000;
/** Most items that are scored at once. */
const MAX_SCORED = 500;
const MAX_JOBS = 500;
const MAX_JOB_ID_BYTES = 512;
const SWITCH_TIMEOUT_MS = 130_000;

const bundleId = z
  .string()
  .regex(/^([0-9a-f]{16})?$/, 'is not 16 hexadecimal characters; leave it empty for the active bundle')
  .default('');
const countOf = (max: number, fallback: number) => z.int().min(1).max(max).default(fallback);

/** What the routes reach. */
export interface RouteParts {
  readonly session: SessionView;
  readonly fleet: Fleet;
  readonly upstream: Upstream;
  readonly queue: ShownQueue | undefined;
  readonly changes: Changes;
}

/** Creates the routes of the page. User ids come in bodies alone, so that no URL and no log has one. */
export function createRoutes({ session, fleet, upstream, queue, changes }: RouteParts): Routes {
  return {
    session: route(z.strictObject({}), () => session),
    fleet: route(z.strictObject({}), () => fleet.view()),
    user: route(
      z.strictObject({ userId: z.string(), bundleId, limit: countOf(MAX_SHOWN_POSITIONS, 200) }),
      ({ userId, ...query }, { timeoutMs }) => readHistory(upstream, { ...query, userId: userOf(userId) }, timeoutMs),
    ),
    score: route(scoreSchema, (query, { signal }) =>
      scoreItems(upstream.ranking, checkedScore(query, MAX_SCORED), signal),
    ),
    explain: route(scoreSchema, (query, { signal }) =>
      explainItems(upstream.ranking, checkedScore(query, LIMITS.explainedCandidates), signal),
    ),
    pool: route(z.strictObject({ bundleId }), (query, { timeoutMs }) => readPool(upstream, query.bundleId, timeoutMs)),
    bundles: route(z.strictObject({}), () => readBundles(upstream)),
    queue: route(z.strictObject({ limit: countOf(MAX_JOBS, 50) }), ({ limit }) => requireQueue(queue).view(limit)),
    'bundles/activate': change(
      z.strictObject({ bundleId: z.string().regex(/^[0-9a-f]{16}$/, ID), force: z.boolean().default(false) }),
      (request, { token }) => changes.activate(request, token),
    ),
    'bundles/rollback': change(z.strictObject({ force: z.boolean().default(false) }), (request, { token }) =>
      changes.rollback(request, token),
    ),
    'queue/retry': change(
      z.strictObject({ ids: z.array(z.string().min(1).max(MAX_JOB_ID_BYTES)).max(MAX_JOBS).default([]) }),
      (request, { token }) => changes.retry(request, token),
    ),
  };
}

const ID = 'is not 16 hexadecimal characters; send the id of a bundle';
const scoreSchema = z.strictObject({ userId: z.string(), itemIds: z.array(z.string()), bundleId });

function route<S extends z.ZodType>(
  schema: S,
  answer: (request: z.output<S>, caller: Parameters<Route['answer']>[1]) => object | Promise<object>,
): Route {
  return { answer: (request, caller) => answer(parsed(schema, request), caller) };
}

function change<S extends z.ZodType>(schema: S, answer: Parameters<typeof route<S>>[1]): Route {
  return { ...route(schema, answer), changes: true, timeoutMs: SWITCH_TIMEOUT_MS };
}

/** @throws invalid_request that names the first field at fault */
function parsed<S extends z.ZodType>(schema: S, request: unknown): z.output<S> {
  const outcome = schema.safeParse(request);
  if (outcome.success) return outcome.data;
  const [issue] = outcome.error.issues;
  const field = issue?.path.join('.') || 'request';
  throw invalidRequest(field, issue?.message ?? 'is wrong', 'send what docs/console.md says');
}

function userOf(userId: string): string {
  return parseId(userId, 'userId', LIMITS.idBytes);
}

function checkedScore(query: z.output<typeof scoreSchema>, maxItems: number): z.output<typeof scoreSchema> {
  const { userId, itemIds } = query;
  if (itemIds.length === 0 || itemIds.length > maxItems) {
    const problem = `has ${itemIds.length} items, 1 to ${maxItems} are allowed`;
    throw invalidRequest('itemIds', problem, itemIds.length === 0 ? 'name one' : 'name fewer');
  }
  for (const [i, itemId] of itemIds.entries()) parseId(itemId, `itemIds[${i}]`, LIMITS.idBytes);
  return { ...query, userId: userOf(userId) };
}
