import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { closeRedis, connectedRedis, connectRedis, type RedisClient } from './connect-redis.js';

const options = { field: 'CKV_REDIS_URL', name: 'test', whenAway: 'fail' } as const;

it('gives up when Redis does not answer in time, and names the variable and the cause', async () => {
  await expect(connectedRedis('redis://127.0.0.1:1', options, 200)).rejects.toMatchObject({
    reason: 'dependency_unavailable',
    message: expect.stringMatching(/^CKV_REDIS_URL: Redis cannot be reached \(connect ECONNREFUSED/),
  });
});

describe('with a server that is not Redis', () => {
  let server: Server;
  let at: string;
  let sockets: Socket[];
  let client: RedisClient | undefined;
  const connect = (url: string) => {
    client = connectRedis(url, { ...options, onError: () => undefined });
    return client;
  };

  beforeEach(async () => {
    sockets = [];
    server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined);
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    at = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    if (client) closeRedis(client);
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  it('retries until its time is over, since a server that refuses may be starting', async () => {
    server.on('connection', (socket) => socket.destroy());
    await expect(connectedRedis(`redis://${at}`, options, 500)).rejects.toMatchObject({
      reason: 'dependency_unavailable',
    });
    expect(sockets.length).toBeGreaterThan(1);
  });

  it.each([
    ['alone', () => `redis://${at}`],
    ['as a cluster', () => `redis+cluster://${at}`],
    ['as a sentinel', () => `redis+sentinel://${at}/main`],
  ])('fails the commands to a server that never answers, %s, and reconnects', async (_, url) => {
    const asked = connect(url());
    const ask = () => Promise.allSettled(Array.from({ length: 100 }, () => asked.get('key')));
    await vi.waitUntil(() => sockets.length > 0);
    const [first] = sockets;
    first?.resume(); // without a reader the socket never sees its end
    expect((await ask()).every(({ status }) => status === 'rejected')).toBe(true);
    await vi.waitUntil(() => first?.destroyed && sockets.some((one) => !one.destroyed), { timeout: 20_000 });
    expect((await ask()).every(({ status }) => status === 'rejected')).toBe(true);
  });

  it('sets its name for CLIENT LIST, and sends no other command that an access rule would have to allow', async () => {
    connect(`redis://${at}`);
    await vi.waitUntil(() => sockets.length > 0);
    const greeting = String(await new Promise((resolve) => sockets[0]?.once('data', resolve)));
    expect(greeting.match(/(?<=^\$\d+\r\n)[a-z]+/gim)).toEqual(['hello', 'client', 'setname', 'test']);
  });

  /** Answers the commands of a new connection as Redis does, and every GET with an error. */
  const answerGetWith = (reply: string) => {
    const answerTo = (command: string) => {
      if (command.includes('get')) return `-${reply}\r\n`;
      return command.includes('info') ? '$12\r\nrole:master\n\r\n' : '+OK\r\n';
    };
    server.on('connection', (socket) => {
      socket.on('data', (asked) => {
        const commands = String(asked).split(/(?=^\*\d+\r\n)/m);
        socket.write(commands.map((command) => (command.includes('hello') ? '%0\r\n' : answerTo(command))).join(''));
      });
    });
  };
  const getOnceConnected = async () => {
    const asked = connect(`redis://${at}`);
    await vi.waitUntil(() => asked.status === 'ready');
    return asked.get('key');
  };

  it.each([
    'READONLY a replica',
    'NOREPLICAS Not enough good replicas to write.',
    'LOADING the data',
    'MASTERDOWN no primary',
    'ERR Error running script (call to f_1): @user_script:1: -READONLY a replica',
  ])('fails the command and connects again after the reply %s', async (reply) => {
    answerGetWith(reply);
    await expect(getOnceConnected()).rejects.toThrow(reply);
    await vi.waitUntil(() => sockets.length > 1);
    expect(sockets[0]?.destroyed).toBe(true);
  });

  it('stays connected after other error replies', async () => {
    answerGetWith('WRONGTYPE not a string');
    await expect(getOnceConnected()).rejects.toThrow('WRONGTYPE');
    await expect(client?.get('key')).rejects.toThrow('WRONGTYPE');
    expect(sockets.length).toBe(1);
  });
});
