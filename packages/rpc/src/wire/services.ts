import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type ProtoPackage, protoDir } from '@collectivekv/contracts';
import { loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/** The definitions of the .proto files as @grpc/proto-loader reads them. Reflection serves them as well. */
export const packageDefinition = loadSync(
  readdirSync(join(protoDir, 'collectivekv', 'v1')).map((file) => `collectivekv/v1/${file}`),
  { includeDirs: [protoDir], longs: Number, enums: String, defaults: true, oneofs: true },
);

const { RankingService, PoolService, UserCacheService, InteractionService } = (
  loadPackageDefinition(packageDefinition) as unknown as { collectivekv: { v1: ProtoPackage } }
).collectivekv.v1;

/** The services: client constructors, each with its definition under `service`. */
export const services = { RankingService, PoolService, UserCacheService, InteractionService };

/** A service's short name. */
export type ServiceName = keyof typeof services;
