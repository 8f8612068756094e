import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { ProtoGrpcType as InteractionProto } from './generated/interaction.js';
import type { ProtoGrpcType as PoolProto } from './generated/pool.js';
import type { ProtoGrpcType as RankingProto } from './generated/ranking.js';
import type { ProtoGrpcType as UserCacheProto } from './generated/user_cache.js';
import { withQuickIds, withQuickRequests } from './rank-request-wire.js';

type Package = RankingProto['collectivekv']['v1'] &
  PoolProto['collectivekv']['v1'] &
  UserCacheProto['collectivekv']['v1'] &
  InteractionProto['collectivekv']['v1'];

/** Folder of the .proto files, `collectivekv/v1/*.proto` below it. */
export const protoDir = join(fileURLToPath(import.meta.url), '..', '..', 'dist', 'proto');

/** Everything that the .proto files define, as @grpc/proto-loader gives it; also what reflection serves. */
export const packageDefinition = loadSync(
  readdirSync(join(protoDir, 'collectivekv', 'v1')).map((file) => `collectivekv/v1/${file}`),
  { includeDirs: [protoDir], longs: Number, enums: String, defaults: true, oneofs: true },
);

const { RankingService, PoolService, UserCacheService, InteractionService } = (
  loadPackageDefinition(packageDefinition) as unknown as { collectivekv: { v1: Package } }
).collectivekv.v1;

const { Rank, RankMany, RankStream } = RankingService.service;
withQuickIds(Rank);
withQuickIds(RankStream);
withQuickRequests(RankMany, Rank.requestDeserialize);

/** The services: client constructors, each with its definition under `service`. */
export const services = { RankingService, PoolService, UserCacheService, InteractionService };

/** A service's short name. */
export type ServiceName = keyof typeof services;
