import { type Client, type Metadata, type MethodDefinition, status } from '@grpc/grpc-js';
import { failed, serviceError } from '../errors/service-error.js';
import { grpcDeadline } from './grpc-deadline.js';

/** A request, and how long to wait for its response. */
export interface UnaryCall {
  readonly request: unknown;
  readonly metadata: Metadata;
  /** By the steady clock of packages/domain. Default: no end. */
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Sends one request and returns its response. It works on the client's channel, which takes a quarter less time than
 * Client.makeUnaryRequest: that method runs interceptors and takes a stack trace of each call. An aborted signal
 * cancels the call.
 * @throws ServiceError
 */
export function callUnary(
  client: Client,
  { path, requestSerialize, responseDeserialize }: MethodDefinition<unknown, unknown>,
  { request, metadata, deadlineMs, signal }: UnaryCall,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const deadline = Number.isFinite(deadlineMs) ? grpcDeadline(Number(deadlineMs)) : Number.POSITIVE_INFINITY;
    const call = client.getChannel().createCall(path, deadline, undefined, null, undefined);
    const onAbort = () => call.cancelWithStatus(status.CANCELLED, 'Cancelled on client');
    let received: Buffer | undefined;
    call.start(metadata, {
      onReceiveMetadata: () => undefined,
      onReceiveMessage(message: Buffer) {
        received = message;
      },
      onReceiveStatus(ended) {
        signal?.removeEventListener('abort', onAbort);
        if (ended.code !== status.OK) return reject(serviceError(ended));
        if (!received) return reject(serviceError(failed(status.UNIMPLEMENTED, 'no response came')));
        try {
          resolve(responseDeserialize(received));
        } catch (error) {
          reject(serviceError(failed(status.INTERNAL, `the response cannot be read: ${(error as Error).message}`)));
        }
      },
    });
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      call.sendMessageWithContext({}, requestSerialize(request));
      call.startRead();
      call.halfClose();
    } catch (error) {
      call.cancelWithStatus(status.INTERNAL, `the request cannot be written: ${(error as Error).message}`);
    }
  });
}
