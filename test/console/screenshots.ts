// `npm run screenshots`: takes the pictures of docs/console.md, over a running system with a simulated feed.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { InteractionInput } from '@collectivekv/client';
import { createFeedSimulator, type SimulatedUser } from '@collectivekv/feed-simulator';
import type { Page, PageScreenshotOptions } from 'playwright-core';
import { launchBrowser, openPage } from './browser.js';
import { interactionsOf, startConsoleStack } from './console-stack.js';
import { failJobsOf } from './failing-user.js';
import { ROOT } from './root.js';
import { writeTwoBundles } from './two-bundles.js';

const IMAGES = join(ROOT, 'docs/images');
/** A bundle whose rows hold values of the user's own. */
const WITH_USER_KV = join(ROOT, 'test/fixtures/bundles/sdim');
const HOUR_MS = 3_600_000;
const [USERS, SESSIONS, SESSION] = [40, 16, 25];
/** How long the feed goes on before the pictures, so that lines have points. */
const FEED_MS = 60_000;

const browser = await launchBrowser();
if (!browser) {
  console.error('there is no Chromium: install it, or run this on Debian, where apt-get can fetch it');
  process.exit(1);
}
mkdirSync(IMAGES, { recursive: true });
const dir = mkdtempSync(join(tmpdir(), 'ckv-screenshots-'));
try {
  await takePages();
  await takeOwnPart();
} finally {
  await browser.close();
  rmSync(dir, { recursive: true, force: true });
}

/** Takes the pictures of all pages. */
async function takePages(): Promise<void> {
  const bundles = writeTwoBundles(join(dir, 'bundles'));
  const running = await startConsoleStack({
    bundlesDir: bundles.dir,
    env: { pool: { CKV_ACTIVE_BUNDLE: bundles.demoId } },
    consoleEnv: { CKV_CONSOLE_LOOK_EVERY_S: '2', CKV_CONSOLE_WRITES: 'true' },
  });
  const { client, url } = running;
  let letJobsPass = async () => {};
  try {
    const simulator = createFeedSimulator({ seed: 1 });
    const users = Array.from({ length: USERS }, (_, index) => simulator.user(index));
    for (let session = SESSIONS; session > 0; session--) {
      const atMs = Date.now() - session * 6 * HOUR_MS;
      await client.recordInteractions(users.flatMap((user) => exposed(user, SESSION, atMs)));
    }
    letJobsPass = await failJobsOf(running, 'u-of-an-old-record');
    const untilMs = Date.now() + FEED_MS;
    for (let i = 0; Date.now() < untilMs; i++) await serve(users[i % USERS] as SimulatedUser);

    const [user] = users as [SimulatedUser];
    const items = user.candidates(3, Date.now()).map(({ itemId }) => itemId);
    const { page } = await openPage(browser as NonNullable<typeof browser>, url, { height: 800 });
    await page.getByRole('row', { name: /^ranking/ }).waitFor();
    await take(page, 'fleet', { fullPage: true });
    const phone = await openPage(browser as NonNullable<typeof browser>, url, { width: 390, height: 844, dark: true });
    await phone.page.getByRole('row', { name: /^ranking/ }).waitFor();
    await take(phone.page, 'phone', {});
    await goTo(page, 'Users');
    await page.getByLabel('User id').fill(user.userId);
    await page.getByLabel('Items to score').fill(items.join(' '));
    await page.getByRole('button', { name: /^Explain/ }).click();
    await page.locator('article.explained').nth(2).waitFor();
    await page.locator('article summary').first().click();
    await take(page, 'explain', { clip: { x: 0, y: 0, width: 1_280, height: 1_210 }, fullPage: true });
    const history = page.locator('.panel', { has: page.getByRole('heading', { name: 'History' }) });
    await history.screenshot({ path: join(IMAGES, 'console-history.png') });
    await goTo(page, 'Pool');
    await page
      .locator('.panel')
      .first()
      .screenshot({ path: join(IMAGES, 'console-pool.png') });
    await goTo(page, 'Queue');
    await page.getByRole('row', { name: /encoding/ }).waitFor();
    await take(page, 'queue', { clip: { x: 0, y: 0, width: 1_280, height: 520 } });
    await goTo(page, 'Bundles');
    await page.getByRole('button', { name: /^Activate demo-next/ }).click();
    await page.getByRole('dialog').waitFor();
    await take(page, 'bundles', { clip: { x: 0, y: 0, width: 1_280, height: 640 } });
  } finally {
    await letJobsPass();
    await running.close();
  }

  /** Ranks for a user, and records what the user then does. */
  async function serve(user: SimulatedUser): Promise<void> {
    const candidates = user.candidates(50, Date.now());
    await client.rank({
      userId: user.userId,
      candidateIds: candidates.map(({ itemId }) => itemId),
      candidateFeatures: { freshness: candidates.map(({ freshness }) => freshness) },
    });
    await client.recordInteractions(exposed(user, 3, Date.now()));
    await sleep(20);
  }
}

/** Takes the picture of an explanation that has both parts. */
async function takeOwnPart(): Promise<void> {
  const running = await startConsoleStack({ bundlesDir: WITH_USER_KV });
  try {
    await running.client.recordInteractions(interactionsOf('u000001', 180, 120));
    const { page } = await openPage(browser as NonNullable<typeof browser>, running.url);
    await goTo(page, 'Users');
    await page.getByLabel('User id').fill('u000001');
    await page.getByLabel('Items to score').fill('i0008');
    const positions = page.locator('.figures div', { hasText: 'Positions' });
    do {
      await page.getByRole('button', { name: /^Explain/ }).click();
      await page.locator('article.explained').first().waitFor();
    } while (!(await positions.first().textContent())?.includes('180'));
    await page
      .locator('.panel', { has: page.locator('article.explained') })
      .screenshot({ path: join(IMAGES, 'console-own.png') });
  } finally {
    await running.close();
  }
}

function exposed(user: SimulatedUser, count: number, atMs: number): InteractionInput[] {
  return user.expose(count, atMs).map(({ userId, itemId, timestampMs, action, watchRatio }) => {
    return { userId, itemId, timestampMs, action, features: { watch_ratio: watchRatio } };
  });
}

async function goTo(page: Page, name: string): Promise<void> {
  await page.getByRole('navigation').getByRole('link', { name }).click();
  await page.getByRole('heading', { level: 1, name }).waitFor();
  await page.locator('.figures, form').first().waitFor();
}

async function take(page: Page, name: string, options: PageScreenshotOptions): Promise<void> {
  await page.screenshot({ ...options, path: join(IMAGES, `console-${name}.png`) });
}
