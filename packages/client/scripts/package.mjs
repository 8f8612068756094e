// Makes a package for npm in packages/client/package: this client with the private packages that it needs, in one file.
// The types stay files, since they are read by no machine but the compiler. Run "npm run build" before.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const packages = dirname(here);
const out = join(here, 'package');
const { name, version, description, license, engines, publishConfig, keywords } = readJson(join(here, 'package.json'));

rmSync(out, { recursive: true, force: true });
const dependencies = versionsOf(await bundle());
cpSync(join(packages, 'contracts', 'dist', 'proto'), join(out, 'dist', 'proto'), { recursive: true });
copyTypes(join(here, 'dist', 'index.d.ts'));
cpSync(join(here, 'README.md'), join(out, 'README.md'));
cpSync(join(here, '..', '..', 'LICENSE'), join(out, 'LICENSE'));
writeFileSync(
  join(out, 'package.json'),
  `${JSON.stringify(
    {
      ...{ name, version, description, keywords, license, ...repository(), type: 'module', engines },
      exports: { '.': { types: './types/client/index.d.ts', default: './dist/index.js' } },
      ...{ files: ['dist', 'types'], sideEffects: false, publishConfig, dependencies },
    },
    null,
    2,
  )}\n`,
);
console.log(relative(process.cwd(), out));

/** Writes the code. Returns the packages of others that it imports. */
async function bundle() {
  const build = await rolldown({
    input: join(here, 'dist', 'index.js'),
    platform: 'node',
    external: (id) => /^[a-z@]/.test(id) && !id.startsWith('@collectivekv/'),
    treeshake: { moduleSideEffects: false },
  });
  const { output } = await build.write({ dir: join(out, 'dist'), format: 'esm', codeSplitting: false });
  await build.close();
  return output.flatMap(({ imports }) => imports).filter((id) => !id.startsWith('node:'));
}

/** Returns the versions that our packages pin. A backend shares the API of traces with us, so any newer one will do. */
function versionsOf(ids) {
  const pinned = readdirSync(packages).map((folder) => readJson(join(packages, folder, 'package.json')).dependencies);
  const versions = Object.assign({}, ...pinned);
  return Object.fromEntries(ids.map((id) => [id, `${id === '@opentelemetry/api' ? '^' : ''}${versions[id]}`]));
}

/** Copies a file of types, and those that declare what it imports. Imports of our packages become relative. */
function copyTypes(path) {
  const target = targetOf(path);
  if (existsSync(target)) return;
  mkdirSync(dirname(target), { recursive: true });
  const needed = new Set();
  const idOf = (found) => {
    needed.add(found);
    const to = relative(dirname(target), targetOf(found)).replace(/\.d\.ts$/, '.js');
    return to.startsWith('.') ? to : `./${to}`;
  };
  const text = readFileSync(path, 'utf8')
    .replace(/^(import|export)( type)? \{([^}]*)\} from '(@collectivekv\/[^']*)';$/gm, (_, verb, type = '', list, id) =>
      list
        .split(',')
        .map((one) => one.trim())
        .filter(Boolean)
        .map((one) => {
          const name = one.replace(/^type /, '').split(' as ')[0];
          return `${verb}${type} { ${one} } from '${idOf(declarationOf(name, typesOf(id)) ?? missing(name, id))}';`;
        })
        .join('\n'),
    )
    .replace(/((?:from|import\() ?)(['"])(\.[^'"]*)\2/g, (all, before, quote, id) => {
      const found = join(dirname(path), id.replace(/\.js$/, '.d.ts'));
      return existsSync(found) ? `${before}${quote}${idOf(found)}${quote}` : all; // one that is rewritten already stays
    })
    .replace(/^\/\/# sourceMappingURL=.*$/m, '');
  if (text.includes('@collectivekv/')) throw new Error(`${path} imports one of our packages in a new way`);
  writeFileSync(target, text);
  for (const found of needed) copyTypes(found);
}

/** Returns the file that declares a name, looking through the files that `path` exports again. */
function declarationOf(name, path) {
  const text = readFileSync(path, 'utf8');
  if (new RegExp(`^export (declare )?(const|class|function|interface|type) ${name}\\b`, 'm').test(text)) return path;
  for (const [, names, id] of text.matchAll(/^export (?:type )?(?:\*|\{([^}]*)\}) from '(\.[^']*)';$/gm)) {
    if (names !== undefined && !new RegExp(`\\b${name}\\b`).test(names)) continue;
    const found = declarationOf(name, join(dirname(path), id.replace(/\.js$/, '.d.ts')));
    if (found) return found;
  }
  return undefined;
}

function missing(name, id) {
  throw new Error(`${id} exports no ${name}`);
}

/** Returns the place in the package: packages/domain/dist/errors.d.ts becomes types/domain/errors.d.ts. */
function targetOf(path) {
  return join(out, 'types', relative(packages, path).replace(/\/dist\//, '/'));
}

function typesOf(id) {
  const [, folder] = id.split('/');
  const { exports } = readJson(join(packages, folder, 'package.json'));
  return join(packages, folder, exports[`.${id.slice(`@collectivekv/${folder}`.length)}`].types);
}

/** Provenance needs the repository, which the runner of a release knows. */
function repository() {
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: path } = process.env;
  if (!server || !path) return {};
  return { repository: { type: 'git', url: `git+${server}/${path}.git`, directory: 'packages/client' } };
}

function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'));
}
