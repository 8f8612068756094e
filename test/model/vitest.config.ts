// Vitest's settings for runs without a protection: see sabotages.ts.
import { defineConfig } from 'vitest/config';
import { chosenSabotage, without } from './sabotages.js';

const sabotage = chosenSabotage();

export default defineConfig({
  root: new URL('../..', import.meta.url).pathname,
  test: { include: ['test/model/write-path.test.ts'], testTimeout: 600_000, hookTimeout: 60_000 },
  plugins: [
    {
      name: 'without-a-protection',
      enforce: 'pre',
      transform(code, id) {
        return sabotage && id.endsWith(`/${sabotage.file}`) ? without(sabotage, code) : undefined;
      },
    },
  ],
});
