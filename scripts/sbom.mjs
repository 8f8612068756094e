// `npm run sbom`: writes .ckv/sbom.cdx.json, a CycloneDX list of what the services, the SDK and the command line
// consist of. npm makes the list. Its own --omit=dev leaves out packages that a test needs as well, so this script
// picks them.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { shippedPackages } from './packages.mjs';
import { root } from './workspace.mjs';

const OUTPUT = '.ckv/sbom.cdx.json';
const { stdout, stderr } = spawnSync('npm', ['sbom', '--sbom-format=cyclonedx', '--package-lock-only'], {
  cwd: root,
  encoding: 'utf8',
  maxBuffer: 64 * 1024 * 1024,
});
if (stdout === '') throw new Error(`npm sbom failed: ${stderr}`);
const all = JSON.parse(stdout);
const shipped = new Set(shippedPackages().map(({ name, version }) => `${name}@${version}`));
const components = all.components.filter(({ 'bom-ref': ref }) => shipped.has(ref));
const missing = [...shipped].filter((ref) => !components.some(({ 'bom-ref': found }) => found === ref));
if (missing.length > 0) throw new Error(`npm sbom does not list ${missing.join(', ')}`);
const dependencies = all.dependencies
  .filter(({ ref }) => shipped.has(ref))
  .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter((other) => shipped.has(other)) }));
mkdirSync(`${root}/.ckv`, { recursive: true });
writeFileSync(`${root}/${OUTPUT}`, `${JSON.stringify({ ...all, components, dependencies }, null, 2)}\n`);
console.log(`${components.length} outside packages in ${OUTPUT}`);
