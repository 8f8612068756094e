import type { MethodDefinition } from '@grpc/grpc-js';

const same = (bytes: Buffer) => bytes;

/** A unary method that takes and returns bytes. */
export const ECHO_METHOD: MethodDefinition<Buffer, Buffer> = {
  path: '/bench.Echo/Echo',
  requestStream: false,
  responseStream: false,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
};

/** A bidirectional stream of bytes. */
export const ECHO_STREAM_METHOD: MethodDefinition<Buffer, Buffer> = {
  ...ECHO_METHOD,
  path: '/bench.Echo/EchoStream',
  requestStream: true,
  responseStream: true,
};
