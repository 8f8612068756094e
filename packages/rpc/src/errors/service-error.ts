import { Metadata, type ServiceError, type StatusObject, status } from '@grpc/grpc-js';

/** Returns a status for a failure that this side found. */
export function failed(code: status, details: string): StatusObject {
  return { code, details, metadata: new Metadata() };
}

/** Returns the error that grpc-js throws for a status. */
export function serviceError(ended: StatusObject): ServiceError {
  return Object.assign(new Error(`${ended.code} ${status[ended.code]}: ${ended.details}`), ended);
}
