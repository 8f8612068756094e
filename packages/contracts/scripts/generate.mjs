// Writes TypeScript types of proto/ to src/generated, and copies the .proto files to dist/proto, where packages/rpc
// loads them from.
import { execFileSync } from 'node:child_process';
import { cpSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const protoDir = join(here, '..', '..', 'proto');
const files = readdirSync(join(protoDir, 'collectivekv', 'v1'));
const outDir = join(here, 'src', 'generated');
const loader = dirname(createRequire(import.meta.url).resolve('@grpc/proto-loader/package.json'));

rmSync(outDir, { recursive: true, force: true });
execFileSync(
  process.execPath,
  [
    join(loader, 'build', 'bin', 'proto-loader-gen-types.js'),
    ...['--longs=Number', '--enums=String', '--defaults', '--oneofs', '--includeComments'],
    ...['--grpcLib=@grpc/grpc-js', '--importFileExtension=.js', '--targetFileExtension=.ts'],
    ...[`--includeDirs=${protoDir}`, `--outDir=${outDir}`],
    ...files.map((file) => `collectivekv/v1/${file}`),
  ],
  { stdio: ['ignore', 'ignore', 'inherit'] },
);
cpSync(protoDir, join(here, 'dist', 'proto'), { recursive: true });
writeFileSync(join(outDir, 'types.ts'), `${typesOfMessages()}\n${typeOfPackage()}`);

/** Returns exports of every message and service type. */
function typesOfMessages() {
  const modules = readdirSync(join(outDir, 'collectivekv', 'v1')).map((file) => basename(file, '.ts'));
  return modules.map((name) => `export type * from './collectivekv/v1/${name}.js';\n`).join('');
}

/** Returns a type of the whole proto package: what grpc-js makes of the .proto files. */
function typeOfPackage() {
  const modules = files.map((file) => basename(file, '.proto'));
  const parts = modules.map((name) => `import('./${name}.js').ProtoGrpcType['collectivekv']['v1']`);
  return `/** Everything that the .proto files define. */\nexport type ProtoPackage = ${parts.join(' & ')};\n`;
}
