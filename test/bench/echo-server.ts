// A child process that answers every call at once with the same bytes. It shows the cost of gRPC alone. Fork it with
// the size of the answer in bytes. Its first message is its port.
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { ECHO_METHOD, ECHO_STREAM_METHOD } from './echo-method.js';

const answer = Buffer.alloc(Number(process.argv[2]), 1);
const server = new Server();
server.addService(
  { echo: ECHO_METHOD, echoStream: ECHO_STREAM_METHOD },
  {
    echo: (_call: unknown, callback: (error: null, answer: Buffer) => void) => callback(null, answer),
    echoStream: (stream: ServerDuplexStream<Buffer, Buffer>) => stream.on('data', () => stream.write(answer)),
  },
);
const port = await new Promise<number>((resolve, reject) => {
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
    error ? reject(error) : resolve(bound),
  );
});
process.on('disconnect', () => process.exit());
process.send?.(port);
