import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  type HandlerRequestOf,
  type HandlerResponseOf,
  type MethodName,
  packageDefinition,
  type ServiceName,
  services,
} from '@collectivekv/contracts';
import { invalidRequest } from '@collectivekv/domain';
import { Server, ServerCredentials, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';
import { requireSafeBind } from './bind.js';
import type { CallContext } from './call-context.js';
import { type CommonConfig, ConfigError } from './config.js';
import type { Logger } from './log.js';
import { splitBind } from './loopback.js';
import type { Metrics } from './metrics.js';
import { type Answer, type AnswerStream, createRpcGate, UnreadableRequest } from './rpc-gate.js';
import { fieldsOf, type MessageDescriptor, wireProblem } from './wire-check.js';

/** A service's handlers: a promise for each request, of a call or of a stream of them; an async iterable for a stream of answers. */
export type Handlers<S extends ServiceName> = {
  [M in MethodName<S>]: (
    request: HandlerRequestOf<S, M>,
    call: CallContext,
  ) => Promise<HandlerResponseOf<S, M>> | AsyncIterable<HandlerResponseOf<S, M>>;
};

/** A gRPC server with health and reflection on board. */
export interface GrpcServer {
  add<S extends ServiceName>(name: S, handlers: Handlers<S>): void;
  /** Binds; the address has the port that was taken. Throws where the address is in use. */
  start(): Promise<{ address: string }>;
  setServing(serving: boolean): void;
  /** Refuses new calls, waits for those in flight at most `graceMs`, then ends them. */
  drain(graceMs: number): Promise<void>;
}

/** Options of {@link createGrpcServer}. */
export interface GrpcServerOptions {
  readonly config: Pick<
    CommonConfig,
    'CKV_BIND' | 'CKV_TOKEN' | 'CKV_TLS_CERT_FILE' | 'CKV_TLS_KEY_FILE' | 'CKV_ALLOW_INSECURE'
  >;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Largest message taken; default 16 MiB. */
  readonly maxMessageBytes?: number;
  /** How long a stream of requests may go without one; default 30 s. */
  readonly idleTimeoutMs?: number;
}

/** How long to wait for connections that were cut: a peer that hangs never closes its end. */
const CUT_MS = 1_000;
const FLOW_CONTROL_WINDOW_BYTES = 8 * 1024 * 1024;

/**
 * Creates a server.
 * @throws ConfigError where the address is beyond loopback and neither a token nor TLS guards it
 */
export function createGrpcServer({
  config,
  log,
  metrics,
  maxMessageBytes = 16 * 1024 * 1024,
  idleTimeoutMs = 30_000,
}: GrpcServerOptions): GrpcServer {
  const credentials = credentialsOf(config);
  const tls = config.CKV_TLS_CERT_FILE !== '';
  requireSafeBind('CKV_BIND', config.CKV_BIND, tls || config.CKV_TOKEN !== '' || config.CKV_ALLOW_INSECURE);
  const server = new Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': -1,
    'grpc-node.flow_control_window': FLOW_CONTROL_WINDOW_BYTES,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
  });
  const gate = createRpcGate({ token: config.CKV_TOKEN, log, metrics, idleTimeoutMs });
  const health = new HealthImplementation({ '': 'NOT_SERVING' });
  health.addToServer(server);
  new ReflectionService(packageDefinition).addToServer(server);
  const names: string[] = [''];

  return {
    add(name, handlers) {
      const definition: ServiceDefinition = services[name].service;
      const guarded: { [method: string]: ServiceDefinition[string] } = {};
      const implementation: UntypedServiceImplementation = {};
      for (const [method, handler] of Object.entries<(request: never, call: CallContext) => unknown>(handlers)) {
        const spec = definition[method];
        if (!spec) throw new Error(`${name} has no method ${method}`);
        guarded[method] = { ...spec, requestDeserialize: readerOf(spec) };
        const rpc = `${name}/${method}`;
        if (spec.requestStream) implementation[method] = gate.pingPong(rpc, handler as Answer);
        else if (spec.responseStream) implementation[method] = gate.stream(rpc, handler as AnswerStream);
        else implementation[method] = gate.unary(rpc, handler as Answer);
      }
      server.addService(guarded, implementation);
      names.push(`collectivekv.v1.${name}`);
      health.setStatus(`collectivekv.v1.${name}`, 'NOT_SERVING');
    },
    async start() {
      const port = await new Promise<number>((resolve, reject) => {
        server.bindAsync(config.CKV_BIND, credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
      });
      return { address: `${splitBind(config.CKV_BIND).host}:${port}` };
    },
    setServing(serving) {
      for (const name of names) health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING');
    },
    async drain(graceMs) {
      gate.drain();
      const finished = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      if (await doneWithin(graceMs, finished)) return;
      server.forceShutdown();
      await doneWithin(CUT_MS, finished);
    },
  };
}

/** Waits for it, no longer than that; whether it is done. */
function doneWithin(timeoutMs: number, work: Promise<void>): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), timeoutMs);
    work.then(() => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}

function readerOf(spec: ServiceDefinition[string]): (bytes: Buffer) => unknown {
  const { requestType } = spec as unknown as { requestType: { type: MessageDescriptor & { name: string } } };
  const fields = fieldsOf(requestType.type, messageNamed);
  return (bytes) => {
    const problem = wireProblem(bytes, fields);
    if (problem) return new UnreadableRequest(problem);
    try {
      return spec.requestDeserialize(bytes);
    } catch {
      const problem = `is no ${requestType.type.name} message`;
      return new UnreadableRequest(invalidRequest('request', problem, 'encode it by the .proto file'));
    }
  };
}

/** A message type of the .proto files; a map's entries have none. */
function messageNamed(typeName: string): MessageDescriptor | undefined {
  const definition = packageDefinition[`collectivekv.v1.${typeName.split('.').at(-1)}`];
  return definition && 'type' in definition ? (definition.type as MessageDescriptor) : undefined;
}

function credentialsOf(config: GrpcServerOptions['config']): ServerCredentials {
  const { CKV_TLS_CERT_FILE: certFile, CKV_TLS_KEY_FILE: keyFile } = config;
  if (certFile === '' && keyFile === '') return ServerCredentials.createInsecure();
  try {
    const pair = { cert_chain: readFileSync(certFile), private_key: readFileSync(keyFile) };
    if (!new X509Certificate(pair.cert_chain).checkPrivateKey(createPrivateKey(pair.private_key))) {
      throw new Error('the key is not that of the certificate');
    }
    return ServerCredentials.createSsl(null, [pair]);
  } catch (error) {
    const problem = (error as Error).message;
    throw new ConfigError([`CKV_TLS_CERT_FILE, CKV_TLS_KEY_FILE: both must name PEM files (${problem})`]);
  }
}
