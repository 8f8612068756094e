/** Takes the log lines of the server. A pino logger fulfils it. */
export interface RpcLog {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Counts the requests of the server. `Metrics` of packages/service-kit fulfils it. */
export interface RpcMetrics {
  /** Histogram of the time from a request reaching its handler to its answer. `code` is the gRPC status name. */
  readonly rpcSeconds: { observe(labels: { rpc: string; code: string }, seconds: number): void };
}
