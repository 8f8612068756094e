import { Metadata, type ServiceError, type StatusObject, status } from '@grpc/grpc-js';

/** A failure that this side found. */
export function failed(code: status, details: string): StatusObject {
  return { code, details, metadata: new Metadata() };
}

/** How a call ended, as the error that grpc-js throws of it. */
export function serviceError(ended: StatusObject): ServiceError {
  return Object.assign(new Error(`${ended.code} ${status[ended.code]}: ${ended.details}`), ended);
}
