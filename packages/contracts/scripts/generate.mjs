// Types from proto/ into src/generated, and the proto files beside the compiled code, where they are loaded from.
import { execFileSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const protoDir = join(here, '..', '..', 'proto');
const files = readdirSync(join(protoDir, 'collectivekv', 'v1')).map((file) => `collectivekv/v1/${file}`);
const loader = dirname(createRequire(import.meta.url).resolve('@grpc/proto-loader/package.json'));

rmSync(join(here, 'src', 'generated'), { recursive: true, force: true });
execFileSync(
  process.execPath,
  [
    join(loader, 'build', 'bin', 'proto-loader-gen-types.js'),
    ...['--longs=Number', '--enums=String', '--defaults', '--oneofs', '--includeComments'],
    ...['--grpcLib=@grpc/grpc-js', '--importFileExtension=.js', '--targetFileExtension=.ts'],
    ...[`--includeDirs=${protoDir}`, `--outDir=${join(here, 'src', 'generated')}`],
    ...files,
  ],
  { stdio: ['ignore', 'ignore', 'inherit'] },
);
cpSync(protoDir, join(here, 'dist', 'proto'), { recursive: true });

const generated = join(here, 'src', 'generated', 'collectivekv', 'v1');

// What a service receives has its candidate ids packed: src/rank-request-wire.ts.
const rankRequest = join(generated, 'RankRequest.ts');
const text = readFileSync(rankRequest, 'utf8');
const packed = text.replace(
  `'candidateIds': (string)[];`,
  `'candidateIds': import('../../../packed-ids.js').PackedIds;`,
);
if (packed === text) throw new Error(`${rankRequest} has no 'candidateIds': (string)[]; adapt generate.mjs`);
writeFileSync(rankRequest, packed);

// One barrel of every message and service type.
const exports = readdirSync(generated).map(
  (file) => `export type * from './collectivekv/v1/${file.replace('.ts', '.js')}';`,
);
writeFileSync(join(here, 'src', 'generated', 'messages.ts'), `${exports.join('\n')}\n`);
