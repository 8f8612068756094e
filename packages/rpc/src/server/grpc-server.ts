import { invalidRequest } from '@collectivekv/domain';
import {
  type Metadata,
  Server,
  type ServiceDefinition,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { statusOf } from '../errors/grpc-errors.js';
import type { HandlerRequestOf, HandlerResponseOf, MethodName } from '../wire/methods.js';
import { packageDefinition, type ServiceName, services } from '../wire/services.js';
import { fieldsOf, type MessageDescriptor, wireProblem } from '../wire/wire-check.js';
import { type AccessOptions, createCallerAccess } from './access/caller-access.js';
import { addGuardedReflection } from './access/guarded-reflection.js';
import { type Admission, createAdmission } from './admission.js';
import type { CallContext } from './call-context.js';
import { type EarlyRefusal, refuseEarly } from './early-refusal.js';
import { watchLoop } from './loop-load.js';
import type { RpcLog, RpcMetrics } from './observers.js';
import { type Answer, type AnswerStream, createRpcGate, UnreadableRequest } from './rpc-gate.js';
import { type ServerTlsOptions, secureServer } from './server-security.js';

/**
 * A service's handlers. Each returns a promise of the answer to one request, also where the requests come on a stream.
 * A handler with a stream of answers returns an async iterable.
 */
export type Handlers<S extends ServiceName> = {
  [M in MethodName<S>]: (
    request: HandlerRequestOf<S, M>,
    call: CallContext,
  ) => Promise<HandlerResponseOf<S, M>> | AsyncIterable<HandlerResponseOf<S, M>>;
};

/** A gRPC server with the health and reflection services. */
export interface GrpcServer {
  /** Adds a service. Add all before `start`. */
  add<S extends ServiceName>(name: S, handlers: Handlers<S>, options?: ServiceOptions<S>): void;
  /** Listens, and returns the address with the port that it got. Throws if the address is in use. */
  start(): Promise<{ address: string }>;
  /** Sets the answer of the health service. It is not serving at first. */
  setServing(serving: boolean): void;
  /** Returns when the server's certificate expires, Unix ms. 0 without TLS. */
  certificateEndMs(): number;
  /** Refuses new calls, waits at most `graceMs` for the calls in flight, then ends them. */
  drain(graceMs: number): Promise<void>;
}

/** Options of a service. */
export interface ServiceOptions<S extends ServiceName> {
  /**
   * Lets requests in, except those for a stream of answers. Default: an admission for handlers that keep nothing busy
   * but the event loop.
   */
  readonly admission?: Admission;
  /** Methods whose handlers pass the parts of a request through `admission` on their own. Default: none. */
  readonly admitsParts?: readonly MethodName<S>[];
  /** Methods that may work for seconds. They have places of their own, and take none from the others. Default: none. */
  readonly slowMethods?: readonly MethodName<S>[];
}

/** Options of {@link createGrpcServer}. */
export interface GrpcServerOptions extends ServerTlsOptions, AccessOptions {
  /** `host:port` to listen on; port 0 takes a free one. */
  readonly bind: string;
  readonly log: RpcLog;
  readonly metrics: RpcMetrics;
  /** Largest message that is read, bytes. Default 16 MiB. */
  readonly maxMessageBytes?: number;
  /**
   * Most memory of one connection, MB: above all answers that its caller has not read. Beyond it the connection is
   * closed. Default 512.
   */
  readonly maxUnreadMb?: number;
  /** How long a stream of requests may wait for one, ms. Default 30,000. */
  readonly idleTimeoutMs?: number;
  /**
   * Age at which a connection's caller is asked to connect again, ms, give or take a tenth. Calls in flight go on. So
   * callers in every language find new replicas. Default 0: never.
   */
  readonly maxConnectionAgeMs?: number;
}

/** How long to wait for connections that were cut. A peer that hangs never closes its end. */
const CUT_MS = 1_000;
const FLOW_CONTROL_WINDOW_BYTES = 8 * 1024 * 1024;
/** Most calls of a connection, its idle streams included. Further calls wait in the caller. */
const MAX_CONCURRENT_STREAMS = 1_024;
/** Bounds of services that keep nothing busy but the event loop. */
const LOOP_BOUND = { started: { least: 4, most: 1_024 }, mostWaiting: 256 };
/** Bounds of the slow methods of a service. */
const SLOW_BOUND = { started: { least: 2, most: 2 }, mostWaiting: 8 };

/**
 * Creates a server.
 * @throws invalid_request if a file of certificates, of a key or of tokens cannot be used
 */
export function createGrpcServer({
  bind,
  log,
  metrics,
  maxMessageBytes = 16 * 1024 * 1024,
  maxUnreadMb = 512,
  idleTimeoutMs = 30_000,
  maxConnectionAgeMs = 0,
  ...guard
}: GrpcServerOptions): GrpcServer {
  const security = secureServer(guard);
  const access = createCallerAccess(guard, log);
  const refusals = new Map<string, EarlyRefusal>();
  const saturated = watchLoop();
  const server = new Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': -1,
    'grpc-node.flow_control_window': FLOW_CONTROL_WINDOW_BYTES,
    'grpc.max_concurrent_streams': MAX_CONCURRENT_STREAMS,
    'grpc-node.max_session_memory': maxUnreadMb,
    'grpc.enable_channelz': 0, // nobody reads its counts, which cost each call a tenth of its time
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    ...(maxConnectionAgeMs > 0 ? { 'grpc.max_connection_age_ms': maxConnectionAgeMs } : {}),
    interceptors: [refuseEarly((path) => refusals.get(path))],
  });
  const gate = createRpcGate({ access, log, metrics, idleTimeoutMs });
  const health = new HealthImplementation({ '': 'NOT_SERVING' });
  health.addToServer(server);
  addGuardedReflection(server, access);
  const names: string[] = [''];
  const loopBound = () => createAdmission({ ...LOOP_BOUND, load: () => (saturated() ? 'full' : 'spare') });

  /**
   * Refuses calls of a method while its admission is full. Callers who may not come in at all are told so, and not
   * counted.
   */
  function earlyRefusalOf(rpc: string, admission: Admission): EarlyRefusal {
    return {
      get full() {
        return admission.full;
      },
      refuse(metadata: Metadata) {
        const error = gate.refusal(rpc, metadata) ?? admission.refuse();
        metrics.rpcSeconds.observe({ rpc, code: status[statusOf(error).code] ?? 'UNKNOWN' }, 0);
        return error;
      },
    };
  }

  return {
    add(name, handlers, { admission = loopBound(), admitsParts = [], slowMethods = [] } = {}) {
      const slow = createAdmission({ ...SLOW_BOUND, load: () => 'busy' });
      const definition: ServiceDefinition = services[name].service;
      const guarded: { [method: string]: ServiceDefinition[string] } = {};
      const implementation: UntypedServiceImplementation = {};
      for (const [method, handler] of Object.entries<(request: never, call: CallContext) => unknown>(handlers)) {
        const spec = definition[method];
        if (!spec) throw new Error(`${name} has no method ${method}`);
        guarded[method] = { ...spec, requestDeserialize: readerOf(spec) };
        const rpc = `${name}/${method}`;
        if (spec.responseStream && !spec.requestStream) {
          implementation[method] = gate.answerStream(rpc, handler as AnswerStream);
          continue;
        }
        const answer = handler as Answer;
        const passes = admitsParts.some((known) => known === method);
        const own = slowMethods.some((known) => known === method) ? slow : admission;
        const admitted: Answer = passes ? answer : (request, call) => own.run(call, () => answer(request, call));
        implementation[method] = spec.requestStream ? gate.requestStream(rpc, admitted) : gate.unary(rpc, admitted);
        refusals.set(spec.path, earlyRefusalOf(rpc, own));
      }
      server.addService(guarded, implementation);
      names.push(`collectivekv.v1.${name}`);
      health.setStatus(`collectivekv.v1.${name}`, 'NOT_SERVING');
    },
    async start() {
      const port = await new Promise<number>((resolve, reject) => {
        server.bindAsync(bind, security.credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
      });
      return { address: `${hostOf(bind)}:${port}` };
    },
    setServing(serving) {
      for (const name of names) health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING');
    },
    certificateEndMs: security.certificateEndMs,
    async drain(graceMs) {
      security.close();
      access.close();
      gate.drain();
      const finished = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      if (await doneWithin(graceMs, finished)) return;
      server.forceShutdown();
      await doneWithin(CUT_MS, finished);
    },
  };
}

/** Waits for some work, at most `timeoutMs`. Returns whether it is done. */
function doneWithin(timeoutMs: number, work: Promise<void>): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), timeoutMs);
    work.then(() => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}

/** Returns the reader of a method's requests. A request that it cannot read becomes an UnreadableRequest. */
function readerOf(spec: ServiceDefinition[string]): (bytes: Buffer) => unknown {
  const { requestType } = spec as unknown as { requestType: { type: MessageDescriptor & { name: string } } };
  const fields = fieldsOf(requestType.type, messageNamed);
  return (bytes) => {
    const problem = wireProblem(bytes, fields);
    if (problem) return new UnreadableRequest(problem);
    try {
      return spec.requestDeserialize(bytes);
    } catch {
      const problem = `is not a valid ${requestType.type.name} message`;
      return new UnreadableRequest(invalidRequest('request', problem, 'encode it by the .proto file'));
    }
  };
}

/** Returns a message type of the .proto files, but none of the types inside another. */
function messageNamed(typeName: string): MessageDescriptor | undefined {
  const definition = packageDefinition[`collectivekv.v1.${typeName.split('.').at(-1)}`];
  return definition && 'type' in definition ? (definition.type as MessageDescriptor) : undefined;
}

/** Returns the host of `host:port`, without the brackets of an IPv6 host. */
function hostOf(bind: string): string {
  return bind.slice(0, bind.lastIndexOf(':')).replace(/^\[(.*)\]$/, '$1');
}
