import type { MethodDefinition } from '@grpc/proto-loader';
import type { ServiceName, services } from './services.js';

/** Type of a service's definition. */
export type ServiceDefinitionOf<S extends ServiceName> = (typeof services)[S]['service'];

/** Names of the methods of a service. */
export type MethodName<S extends ServiceName> = keyof {
  // Leaves out the index signature that a definition has beside its methods.
  [M in keyof ServiceDefinitionOf<S> as string extends M ? never : number extends M ? never : M]: M;
} &
  string;

/** Type of the request that a caller sends. */
export type RequestOf<S extends ServiceName, M extends MethodName<S>> =
  ServiceDefinitionOf<S>[M] extends MethodDefinition<infer Request, infer _A, infer _B, infer _C> ? Request : never;

/** Type of the response that a caller gets. */
export type ResponseOf<S extends ServiceName, M extends MethodName<S>> =
  ServiceDefinitionOf<S>[M] extends MethodDefinition<infer _A, infer _B, infer _C, infer Response> ? Response : never;

/** Type of the request that a handler gets. */
export type HandlerRequestOf<S extends ServiceName, M extends MethodName<S>> =
  ServiceDefinitionOf<S>[M] extends MethodDefinition<infer _A, infer _B, infer Request, infer _C> ? Request : never;

/** Type of the response that a handler returns. */
export type HandlerResponseOf<S extends ServiceName, M extends MethodName<S>> =
  ServiceDefinitionOf<S>[M] extends MethodDefinition<infer _A, infer Response, infer _B, infer _C> ? Response : never;
