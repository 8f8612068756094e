/** A connection to one Redis server that sends any command. */
export interface RedisCaller {
  call(command: string, ...words: string[]): Promise<unknown>;
}

/**
 * Returns the memory of a Redis server without buffers: of clients, of the append-only file and of other nodes. It asks
 * for the clients by CLIENT LIST: INFO counts them about once a second, and a buffer may be gone by then.
 */
export async function storedBytes(server: RedisCaller): Promise<number> {
  await measure(server); // Redis keeps a histogram of each command from its first call
  return measure(server);
}

async function measure(server: RedisCaller): Promise<number> {
  const info = String(await server.call('INFO', 'memory'));
  const clients = String(await server.call('CLIENT', 'LIST'));
  const field = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? 0);
  const ofClients = [...clients.matchAll(/ tot-mem=(\d+)/g)].reduce((sum, [, bytes]) => sum + Number(bytes), 0);
  return field('used_memory') - field('mem_aof_buffer') - field('mem_cluster_links') - ofClients;
}
