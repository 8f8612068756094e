// `node scripts/tool.mjs NAME [ARGUMENT…]` runs a development tool. If it is not installed, one line says what to do.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { bin } from './workspace.mjs';

const [name, ...args] = process.argv.slice(2);
if (!existsSync(bin(name))) {
  console.error(`${name} is not installed. Run: npm ci --include=dev`);
  process.exit(1);
}
spawn(bin(name), args, { stdio: 'inherit' }).on('exit', (code) => process.exit(code ?? 1));
