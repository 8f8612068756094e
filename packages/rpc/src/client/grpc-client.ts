import { setMaxListeners } from 'node:events';
import { CkvError, invalidRequest, steadyNowMs } from '@collectivekv/domain';
import { currentTraceparent, inSpan } from '@collectivekv/tracing';
import {
  type ClientReadableStream,
  type Metadata,
  type MethodDefinition,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { errorFrom } from '../errors/grpc-errors.js';
import type { MethodName, RequestOf, ResponseOf } from '../wire/methods.js';
import { type ServiceName, services } from '../wire/services.js';
import { secureChannel } from './channel-security.js';
import { FOLLOWED_NAMES, followedTarget } from './followed-names.js';
import type { GrpcClientOptions } from './grpc-client-options.js';
import { grpcDeadline } from './grpc-deadline.js';
import { limitHandshakes } from './handshake-limit.js';
import { mayUseProxy } from './proxy.js';
import { createStreamCalls, type StreamCalls } from './stream-calls.js';
import { grpcTarget, targetProblem } from './targets.js';
import { callUnary } from './unary-call.js';

/** When a call must end. */
export interface CallLimits {
  /** Unix ms. Default: no end. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

/** Calls of one service. Every failure is a CkvError. */
export interface GrpcClient<S extends ServiceName> {
  /** Sends one request and returns its response. */
  call<M extends MethodName<S>>(method: M, request: RequestOf<S, M>, limits?: CallLimits): Promise<ResponseOf<S, M>>;
  /**
   * Like `call`, for a method that takes a stream of requests and answers each before the next. The stream stays open
   * for the calls that follow. Sets the request's `timeoutMs` from `deadlineMs`. `mayDouble`, for a request that failed
   * before, prefers a stream whose server has just answered, and says whether the request may be sent on two otherwise.
   */
  callOnStream<M extends MethodName<S>>(
    method: M,
    request: RequestOf<S, M> & { timeoutMs?: number },
    limits?: CallLimits & { readonly mayDouble?: (() => boolean) | undefined },
  ): Promise<ResponseOf<S, M>>;
  /** Sends one request and returns its stream of responses. */
  stream<M extends MethodName<S>>(
    method: M,
    request: RequestOf<S, M>,
    limits?: CallLimits,
  ): AsyncIterable<ResponseOf<S, M>>;
  /** Ends the connections. Calls that start afterwards fail with `cancelled`. */
  close(): void;
}

/**
 * How often a connection is tried during calls, and how long a server may take to answer. So a server that hangs, or
 * that is gone without a word, gets no call after 8 s. A server that is only busy keeps its connections.
 */
const KEEPALIVE_MS = 3_000;
const KEEPALIVE_TIMEOUT_MS = 5_000;
const ROUND_ROBIN = JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] });

/**
 * Creates a client. It connects with the first call.
 * @param target `host:port`, several of them joined by commas, or a gRPC target such as `dns:///host:port`. The calls
 * take turns on all addresses. A name is looked up again every few seconds
 * @throws invalid_request if the target has no port or is a URL, a file of the options cannot be read, or the token is
 * not printable ASCII without spaces
 */
export function createGrpcClient<S extends ServiceName>(
  name: S,
  target: string,
  { useProxy = false, ...securityOptions }: GrpcClientOptions = {},
): GrpcClient<S> {
  const targetField = securityOptions.optionNames?.target ?? 'target';
  const wrong = targetProblem(target);
  if (wrong) throw invalidRequest(targetField, wrong.problem, wrong.remedy);
  const security = secureChannel(grpcTarget(target), securityOptions);
  const { metadata } = security;
  const Client = services[name];
  const client = new Client(followedTarget(grpcTarget(target)), limitHandshakes(security.credentials), {
    ...FOLLOWED_NAMES,
    'grpc.service_config': ROUND_ROBIN,
    'grpc.enable_http_proxy': useProxy && mayUseProxy(grpcTarget(target)) ? 1 : 0,
    'grpc.max_receive_message_length': -1,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.min_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1_000,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    'grpc-node.flow_control_window': 8 * 1024 * 1024,
  });
  const specOf = (method: string) =>
    (Client.service as Record<string, MethodDefinition<unknown, unknown>>)[method] as MethodDefinition<
      unknown,
      unknown
    >;

  /** Returns the CkvError of a failed call. If no server answered, its text names the address. */
  function failureOf(thrown: ServiceError): CkvError {
    const error = errorFrom(thrown);
    const answered = thrown.metadata?.get('ckv-reason').length > 0;
    if (answered) return error;
    if (thrown.code === status.UNIMPLEMENTED) {
      const what = 'the address answers as another service, or as another version of it';
      const text = `${name} at ${target} is not there: ${what}; correct ${targetField}`;
      return new CkvError('dependency_unavailable', text, { field: targetField, cause: thrown });
    }
    if (error.reason === 'deadline') return new CkvError('deadline', 'the deadline passed', { cause: thrown });
    if (error.reason !== 'dependency_unavailable') return error;
    const why = security.problem();
    const text = `${name} at ${target} cannot be reached${why && `: ${why}`}`;
    return new CkvError(error.reason, text, { cause: thrown });
  }

  let closed = false;
  const streamCalls = new Map<string, StreamCalls>();
  const streamCallsOf = (method: string) => {
    const made = streamCalls.get(method) ?? createStreamCalls(client, specOf(method), metadata);
    streamCalls.set(method, made);
    return made;
  };

  /** Returns the response of a call. Throws a CkvError if the call fails, or may not begin. */
  async function guarded<T>(signal: AbortSignal | undefined, call: () => Promise<unknown>): Promise<T> {
    if (closed) throw closedError();
    if (signal?.aborted) throw abortReason(signal);
    if (signal) setMaxListeners(0, signal); // one signal may end many calls
    try {
      return (await call()) as T;
    } catch (error) {
      throw signal?.aborted ? abortReason(signal) : failureOf(error as ServiceError);
    }
  }

  const inCall = <T>(method: string, call: () => Promise<T>): Promise<T> => {
    const rpc = `collectivekv.v1.${name}/${method}`;
    return inSpan({ name: rpc, kind: 'client', attributes: { 'rpc.system.name': 'grpc', 'rpc.method': rpc } }, call);
  };

  return {
    call: (method, request, { deadlineMs, signal } = {}) =>
      inCall(method, () =>
        guarded(signal, () =>
          callUnary(client, specOf(method), { request, metadata: traced(metadata), deadlineMs, signal }),
        ),
      ),

    callOnStream: (method, request, limits = {}) =>
      inCall(method, () =>
        guarded(limits.signal, () => {
          const sent = { ...request, timeoutMs: timeoutOf(limits), traceparent: currentTraceparent() };
          return streamCallsOf(method).call(sent, limits);
        }),
      ),

    async *stream(method, request, limits = {}) {
      if (closed) throw closedError();
      const spec = specOf(method);
      const call = client.makeServerStreamRequest(
        spec.path,
        spec.requestSerialize,
        spec.responseDeserialize,
        request,
        traced(metadata),
        optionsOf(limits),
      ) as ClientReadableStream<ResponseOf<S, typeof method>>;
      const onAbort = () => call.cancel();
      limits.signal?.addEventListener('abort', onAbort, { once: true });
      if (limits.signal?.aborted) call.cancel();
      try {
        yield* call;
      } catch (error) {
        throw limits.signal?.aborted ? abortReason(limits.signal) : failureOf(error as ServiceError);
      } finally {
        limits.signal?.removeEventListener('abort', onAbort);
        call.on('error', () => undefined); // the error of the cancellation
        call.cancel();
      }
    },

    close() {
      closed = true;
      for (const calls of streamCalls.values()) calls.close();
      client.close();
      security.close();
    },
  };
}

/** Returns the metadata with the span in which this code runs. */
function traced(metadata: Metadata): Metadata {
  const traceparent = currentTraceparent();
  if (traceparent === '') return metadata;
  const own = metadata.clone();
  own.set('traceparent', traceparent);
  return own;
}

function optionsOf({ deadlineMs }: CallLimits): { deadline?: number } {
  return deadlineMs === undefined || !Number.isFinite(deadlineMs) ? {} : { deadline: grpcDeadline(deadlineMs) };
}

/** Returns the time left, ms, 1 or more. Returns 0 if there is no deadline. */
function timeoutOf({ deadlineMs = Number.POSITIVE_INFINITY }: CallLimits): number {
  if (!Number.isFinite(deadlineMs)) return 0;
  return Math.min(Math.max(1, Math.ceil(deadlineMs - steadyNowMs())), 2 ** 32 - 1);
}

function closedError(): CkvError {
  return new CkvError('cancelled', 'the client was closed');
}

function abortReason(signal: AbortSignal): CkvError {
  return signal.reason instanceof CkvError
    ? signal.reason
    : new CkvError('cancelled', 'the caller gave up', { cause: signal.reason });
}
