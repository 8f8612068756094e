import type { MethodDefinition } from '@grpc/proto-loader';
import type { ServiceName, services } from './services.js';

/** A service's definition. */
export type ServiceDefinitionOf<S extends ServiceName> = (typeof services)[S]['service'];

/** The methods a service's .proto file declares. */
export type MethodName<S extends ServiceName> = keyof {
  // The definitions have an index signature beside their methods, which is left out here.
  [M in keyof ServiceDefinitionOf<S> as string extends M ? never : number extends M ? never : M]: M;
} &
  string;

/** What a caller sends. */
export type RequestOf<S extends ServiceName, M extends MethodName<S>> =
  ServiceDefinitionOf<S>[M] extends MethodDefinition<infer Request, infer _A, infer _B, infer _C> ? Request : never;

/** What a caller gets. */
export type ResponseOf<S extends ServiceName, M extends MethodName<S>> =
  ServiceDefinitionOf<S>[M] extends MethodDefinition<infer _A, infer _B, infer _C, infer Response> ? Response : never;

/** What a handler gets. */
export type HandlerRequestOf<S extends ServiceName, M extends MethodName<S>> =
  ServiceDefinitionOf<S>[M] extends MethodDefinition<infer _A, infer _B, infer Request, infer _C> ? Request : never;

/** What a handler answers. */
export type HandlerResponseOf<S extends ServiceName, M extends MethodName<S>> =
  ServiceDefinitionOf<S>[M] extends MethodDefinition<infer _A, infer Response, infer _B, infer _C> ? Response : never;
