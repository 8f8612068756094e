import { createHash, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { CkvError, toCkvError } from '@collectivekv/domain';
import { statusOf } from '@collectivekv/grpc-client';
import { type handleServerStreamingCall, type handleUnaryCall, type Metadata, status } from '@grpc/grpc-js';
import { type CallContext, openContext } from './call-context.js';
import type { Logger } from './log.js';
import type { Metrics } from './metrics.js';

/** A request that could not be read; it travels in the request's place to its handler's gate. */
export class UnreadableRequest {
  constructor(readonly error: CkvError) {}
}

/** What every rpc passes on its way in and out. */
export interface RpcGate {
  unary(
    rpc: string,
    handler: (request: never, call: CallContext) => Promise<unknown>,
  ): handleUnaryCall<unknown, unknown>;
  stream(
    rpc: string,
    handler: (request: never, call: CallContext) => AsyncIterable<unknown>,
  ): handleServerStreamingCall<unknown, unknown>;
  /** From now on new calls are refused. */
  drain(): void;
}

/** Creates the gate: authentication, unreadable requests, draining, deadlines, statuses, one log line and one metric. */
export function createRpcGate(options: { token: string; log: Logger; metrics: Metrics }): RpcGate {
  const { log, metrics } = options;
  const wanted = options.token === '' ? undefined : digest(`Bearer ${options.token}`);
  const draining = new AbortController();

  function admit(request: unknown, metadata: Metadata): void {
    if (wanted && !timingSafeEqual(wanted, digest(String(metadata.get('authorization')[0] ?? '')))) {
      throw new CkvError('unauthenticated', 'authorization: the bearer token is missing or wrong; send CKV_TOKEN');
    }
    if (draining.signal.aborted) throw new CkvError('draining', 'the service is shutting down; call another replica');
    if (request instanceof UnreadableRequest) throw request.error;
  }

  function settle(rpc: string, startedMs: number, error?: CkvError): void {
    const tookMs = performance.now() - startedMs;
    const code = error ? (status[statusOf(error).code] ?? 'UNKNOWN') : 'OK';
    metrics.rpcSeconds.observe({ rpc, code }, tookMs / 1000);
    if (error?.reason === 'bug') log.error({ rpc, code, tookMs, err: error.cause ?? error }, 'rpc failed');
    else log.debug({ rpc, code, tookMs, reason: error?.reason, field: error?.field }, 'rpc');
  }

  return {
    unary: (rpc, handler) => async (call, callback) => {
      const startedMs = performance.now();
      const { context, untilEnded, close } = openContext(call, { streaming: false, draining: draining.signal });
      try {
        admit(call.request, call.metadata);
        const response = await untilEnded(handler(call.request as never, context));
        callback(null, response);
        settle(rpc, startedMs);
      } catch (thrown) {
        const error = toCkvError(thrown);
        callback(statusOf(error));
        settle(rpc, startedMs, error);
      } finally {
        close();
      }
    },

    stream: (rpc, handler) => async (call) => {
      const startedMs = performance.now();
      const { context, close } = openContext(call, { streaming: true, draining: draining.signal });
      try {
        admit(call.request, call.metadata);
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

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
