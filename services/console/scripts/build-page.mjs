// Builds the page into dist/page, for src/main.ts to serve.
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const folder = (path) => fileURLToPath(new URL(path, import.meta.url));
await build({
  configFile: false,
  root: folder('../page'),
  base: './',
  logLevel: 'warn',
  build: {
    outDir: folder('../dist/page'),
    emptyOutDir: true,
    assetsInlineLimit: 0, // the policy allows no data: addresses
    modulePreload: { polyfill: false },
    target: 'es2022',
  },
});
