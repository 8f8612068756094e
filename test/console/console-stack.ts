import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CollectiveKvClient, createCollectiveKvClient, type InteractionInput } from '@collectivekv/client';
import { type ServiceProcess, type Stack, startConsole, startStack } from '@collectivekv/dev-stack';
import { ROOT } from './root.js';

/** Folder of the demo bundle. */
export const DEMO_BUNDLE = join(ROOT, 'bundles/demo');

/** A running system with a console. */
export interface ConsoleStack {
  readonly dir: string;
  readonly stack: Stack;
  readonly console: ServiceProcess;
  /** Address of the page. */
  readonly url: string;
  readonly client: CollectiveKvClient;
  close(): Promise<void>;
}

/** Options of {@link startConsoleStack}. */
export interface ConsoleStackOptions {
  readonly bundlesDir?: string;
  readonly consoleEnv?: Readonly<Record<string, string>>;
  readonly env?: Parameters<typeof startStack>[0]['env'];
}

/** Starts a system and its console. */
export async function startConsoleStack({
  bundlesDir = DEMO_BUNDLE,
  consoleEnv = {},
  env = {},
}: ConsoleStackOptions = {}): Promise<ConsoleStack> {
  const dir = await mkdtemp(join(tmpdir(), 'ckv-console-'));
  const stack = await startStack({ dir, bundlesDir, expectDeaths: true, env });
  const page = await startConsole(stack, { dir, env: { CKV_CONSOLE_LOOK_EVERY_S: '1', ...consoleEnv } });
  const client = createCollectiveKvClient({
    rankingTarget: stack.targets.ranking,
    interactionTarget: stack.targets.updater,
    rankTimeoutMs: 10_000,
    recordTimeoutMs: 30_000,
    maxAttempts: 20,
  });
  return {
    dir,
    stack,
    console: page,
    url: `http://${page.address}`,
    client,
    async close() {
      client.close();
      await page.stop();
      await stack.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Returns `count` interactions of a user with items of a catalogue: the demo's by default. Some items come often. */
export function interactionsOf(userId: string, count: number, itemCount = 2_000): InteractionInput[] {
  const actions = ['skip', 'click', 'like'];
  const nowMs = Date.now();
  return Array.from({ length: count }, (_, i) => ({
    eventId: `${userId}-${i}`,
    userId,
    itemId: `i${String(i % 3 === 0 ? 7 * (i % 5) + 1 : (i * 37) % itemCount).padStart(4, '0')}`,
    timestampMs: nowMs - (count - i) * 60_000,
    action: actions[i % 3] ?? '',
    features: { watch_ratio: (i % 11) / 10 },
  }));
}
