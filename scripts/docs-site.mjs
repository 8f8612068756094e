// `npm run docs:site`: builds the pages for a browser into site/dist. With --dev it serves them on loopback instead, and
// follows changes. VitePress has a lock file of its own in site/, so that the product's has only what the product needs.
import { spawn } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { root, runOrExit } from './workspace.mjs';

const site = join(root, 'site');
const marker = join(site, 'node_modules', '.package-lock.json');
const isInstalled = existsSync(marker) && statSync(marker).mtimeMs >= statSync(join(site, 'package-lock.json')).mtimeMs;
if (!isInstalled) await runOrExit('npm ci', 'npm', ['ci', '--include=dev', '--prefix', site]);

const [mode, ...rest] = process.argv.slice(2);
const args = mode === '--dev' ? ['dev', site, ...rest] : ['build', site, ...process.argv.slice(2)];
spawn(join(site, 'node_modules', '.bin', 'vitepress'), args, { cwd: site, stdio: 'inherit' }).on('exit', (code) =>
  process.exit(code ?? 1),
);
