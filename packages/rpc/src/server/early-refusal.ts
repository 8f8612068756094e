import type { CkvError } from '@collectivekv/domain';
import { ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';
import { statusOf } from '../errors/grpc-errors.js';

/** Refuses calls of one method. */
export interface EarlyRefusal {
  /** Returns why a call that comes now is refused; undefined if it is not. */
  refusal(): CkvError | undefined;
  /** Called after a refusal. */
  onRefused(error: CkvError): void;
}

/**
 * Refuses calls when their headers have come, before their messages are read. Such a refusal takes half the time of one
 * in a handler, or less.
 * @param refusalOf returns what refuses the calls of a method, by its path
 */
export function refuseEarly(refusalOf: (path: string) => EarlyRefusal | undefined): ServerInterceptor {
  return (method, call) => {
    const early = refusalOf(method.path);
    const error = early?.refusal();
    if (!early || !error) return new ServerInterceptingCall(call);
    return new ServerInterceptingCall(call, {
      start() {
        call.sendStatus(statusOf(error));
        early.onRefused(error);
      },
    });
  };
}
