// Vitest's settings for runs without a protection: see removals.ts.
import { defineConfig } from 'vitest/config';
import { chosenRemoval, without } from './removals.js';

const removal = chosenRemoval();

export default defineConfig({
  root: new URL('../..', import.meta.url).pathname,
  test: { include: ['test/model/*.test.ts'], testTimeout: 600_000, hookTimeout: 60_000 },
  plugins: [
    {
      name: 'without-a-protection',
      enforce: 'pre',
      transform(code, id) {
        return removal && id.endsWith(`/${removal.file}`) ? without(removal, code) : undefined;
      },
    },
  ],
});
