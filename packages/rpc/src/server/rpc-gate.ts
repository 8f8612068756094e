import { once, setMaxListeners } from 'node:events';
import { CkvError, loggedField, toCkvError } from '@collectivekv/domain';
import { type IncomingCall, inSpanOfCall } from '@collectivekv/tracing';
import {
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Metadata,
  status,
} from '@grpc/grpc-js';
import { statusOf } from '../errors/grpc-errors.js';
import type { CallerAccess } from './access/caller-access.js';
import { type CallContext, DEFAULT_DEADLINE_MS, openContext, type ServerCall } from './call-context.js';
import type { RpcLog, RpcMetrics } from './observers.js';
import { serveRequestStream } from './request-stream.js';

/** Takes the place of a request that cannot be read, on its way to the gate. */
export class UnreadableRequest {
  constructor(readonly error: CkvError) {}
}

/** Answers one request. */
export type Answer = (request: never, call: CallContext) => Promise<unknown>;

/** Answers one request with many messages. */
export type AnswerStream = (request: never, call: CallContext) => AsyncIterable<unknown>;

/**
 * Requests pass the gate on their way in and out, unless they are refused early. The gate checks the token and its
 * roles. It refuses requests that cannot be read, and all requests while the service drains. It sets the deadline, but
 * none for a stream of answers whose caller sets none. It turns failures into statuses. For each request it writes one
 * log line and one metric.
 */
export interface RpcGate {
  /** Returns why a caller may not come in: its token, or the service drains. Undefined if it may. */
  refusal(rpc: string, metadata: Metadata): CkvError | undefined;
  unary(rpc: string, handler: Answer): handleUnaryCall<unknown, unknown>;
  /** For a stream of requests: see {@link serveRequestStream}. */
  requestStream(rpc: string, handler: Answer): handleBidiStreamingCall<unknown, unknown>;
  /** For one request with a stream of answers. */
  answerStream(rpc: string, handler: AnswerStream): handleServerStreamingCall<unknown, unknown>;
  /** Refuses every new call from now on. */
  drain(): void;
}

/** Options of {@link createRpcGate}. */
export interface RpcGateOptions {
  readonly access: Pick<CallerAccess, 'refusal'>;
  readonly log: RpcLog;
  readonly metrics: RpcMetrics;
  /** How long a stream of requests may wait for one, ms. */
  readonly idleTimeoutMs: number;
}

/** A request, and what its answer needs. */
interface Asked {
  readonly call: ServerCall;
  readonly request: unknown;
  /** Why the caller may not come in. */
  readonly refused?: CkvError | undefined;
  send(response: unknown): void;
}

/** Creates a gate. */
export function createRpcGate(options: RpcGateOptions): RpcGate {
  const { access, log, metrics, idleTimeoutMs } = options;
  const draining = new AbortController();
  setMaxListeners(0, draining.signal); // every stream listens

  function refusal(rpc: string, metadata: Metadata): CkvError | undefined {
    const refused = access.refusal(rpc, metadata);
    if (refused) return refused;
    if (!draining.signal.aborted) return undefined;
    return new CkvError('draining', 'the service is shutting down; call another replica');
  }

  function settle(rpc: string, startedMs: number, error?: CkvError): void {
    const tookMs = performance.now() - startedMs;
    const code = error ? (status[statusOf(error).code] ?? 'UNKNOWN') : 'OK';
    metrics.rpcSeconds.observe({ rpc, code }, tookMs / 1000);
    if (error?.reason === 'bug') log.error({ rpc, code, tookMs, err: error.cause ?? error }, 'rpc failed');
    else log.debug({ rpc, code, tookMs, reason: error?.reason, field: loggedField(error?.field) }, 'rpc');
  }

  /** Sends the handler's answer to a request. Throws a CkvError if there is none. */
  async function answer(rpc: string, handler: Answer, { call, request, refused, send }: Asked): Promise<void> {
    const startedMs = performance.now();
    const { context, untilEnded, close } = openContext(call, {
      defaultMs: DEFAULT_DEADLINE_MS,
      timeoutMs: (request as { timeoutMs?: number }).timeoutMs ?? 0,
      draining: draining.signal,
      refusal: (what) => access.refusal(what, call.metadata),
    });
    try {
      const unusable = problemOf(request, refused);
      if (unusable) await settled(rpc, startedMs, () => Promise.reject(unusable));
      const work = async () => send(await untilEnded(handler(request as never, context)));
      await inSpanOfCall(spanOf(rpc, { call, request }), () => settled(rpc, startedMs, work));
    } finally {
      close();
    }
  }

  /** Counts and logs how the work ends. Throws a CkvError if it fails. */
  async function settled(rpc: string, startedMs: number, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      settle(rpc, startedMs);
    } catch (thrown) {
      const error = toCkvError(thrown);
      settle(rpc, startedMs, error);
      throw error;
    }
  }

  return {
    refusal,

    unary: (rpc, handler) => async (call, callback) => {
      try {
        const send = (response: unknown) => callback(null, response);
        await answer(rpc, handler, { call, request: call.request, refused: refusal(rpc, call.metadata), send });
      } catch (error) {
        callback(statusOf(toCkvError(error)));
      }
    },

    requestStream: (rpc, handler) => async (call) => {
      const startedMs = performance.now();
      const refused = refusal(rpc, call.metadata);
      if (refused) {
        settle(rpc, startedMs, refused);
        call.emit('error', statusOf(refused));
        return;
      }
      await serveRequestStream(call, {
        idleTimeoutMs,
        draining: draining.signal,
        // Again for each request: the token may have been withdrawn since the stream began.
        answer: (request, send) =>
          answer(rpc, handler, { call, request, refused: access.refusal(rpc, call.metadata), send }),
      });
    },

    answerStream: (rpc, handler) => async (call) => {
      const startedMs = performance.now();
      const { context, close } = openContext(call, {
        defaultMs: Number.POSITIVE_INFINITY,
        draining: draining.signal,
        refusal: (what) => access.refusal(what, call.metadata),
      });
      try {
        const unusable = problemOf(call.request, refusal(rpc, call.metadata));
        if (unusable) throw unusable;
        for await (const message of handler(call.request as never, context)) {
          if (context.signal.aborted) break;
          if (!call.write(message)) await once(call, 'drain', { signal: context.signal });
        }
        call.end();
        settle(rpc, startedMs);
      } catch (thrown) {
        const error = toCkvError(context.signal.aborted ? context.signal.reason : thrown);
        call.emit('error', statusOf(error));
        settle(rpc, startedMs, error);
      } finally {
        close();
      }
    },

    drain() {
      draining.abort();
    },
  };
}

/** Returns the span of a request. The metadata of a stream names the span that opened it, the request its own. */
function spanOf(rpc: string, { call, request }: Pick<Asked, 'call' | 'request'>): () => IncomingCall {
  return () => {
    const { traceparent = '' } = request as { traceparent?: string };
    const attributes = { 'rpc.system.name': 'grpc', 'rpc.method': `collectivekv.v1.${rpc}` };
    return { name: `collectivekv.v1.${rpc}`, traceparent: traceparent || traceparentIn(call.metadata), attributes };
  };
}

function traceparentIn(metadata: Metadata): string {
  return String(metadata.get('traceparent')[0] ?? '');
}

/** Returns why a request is not answered, if there is a reason. */
function problemOf(request: unknown, refused: CkvError | undefined): CkvError | undefined {
  return refused ?? (request instanceof UnreadableRequest ? request.error : undefined);
}
