// The console in a headless browser, over a running system: every page is walked.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ServiceProcess, startConsole } from '@collectivekv/dev-stack';
import { parseManifest } from '@collectivekv/domain';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { accessibilityFaults, launchBrowser, openPage, type PageOptions } from './browser.js';
import { type ConsoleStack, DEMO_BUNDLE, interactionsOf, startConsoleStack } from './console-stack.js';
import { failJobsOf } from './failing-user.js';
import { type TwoBundles, writeTwoBundles } from './two-bundles.js';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 240_000 });

const USER = 'user-of-the-inspector';
const UNLUCKY = 'user-whose-job-fails';
const POSITIONS = 120;
const VIEWER = 'token-of-a-viewer-123';
const PAGES = ['Fleet', 'Users', 'Pool', 'Bundles', 'Queue'];

const browser: Browser | undefined = await launchBrowser();
if (!browser) console.warn('no Chromium is on the PATH, and apt-get cannot fetch it: the pages are not walked');

describe.skipIf(!browser)('the console in a browser', () => {
  let dir: string;
  let bundles: TwoBundles;
  let running: ConsoleStack;
  let letJobsPass: () => Promise<void>;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'ckv-pages-'));
    bundles = writeTwoBundles(join(dir, 'bundles'));
    running = await startConsoleStack({
      bundlesDir: bundles.dir,
      env: { pool: { CKV_ACTIVE_BUNDLE: bundles.demoId } },
      consoleEnv: { CKV_CONSOLE_WRITES: 'true', CKV_LOG_LEVEL: 'debug' },
    });
    await running.client.recordInteractions(interactionsOf(USER, POSITIONS));
    letJobsPass = await failJobsOf(running, UNLUCKY);
    await vi.waitUntil(async () => {
      const { info } = await running.client.rank({ userId: USER, candidateIds: ['i0001'] });
      return info.positionCount === POSITIONS;
    }, 60_000);
  });
  afterAll(async () => {
    await browser?.close();
    await running.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const open = (options: PageOptions = {}) => openPage(browser as Browser, running.url, options);

  async function goTo(page: Page, name: string): Promise<void> {
    await page.getByRole('navigation').getByRole('link', { name }).click();
    await page.getByRole('heading', { level: 1, name }).waitFor();
    await page.locator('.figures, form').first().waitFor();
  }

  it.each([
    ['light', { width: 1_280 }],
    ['dark', { width: 1_280, dark: true }],
    ['on a phone', { width: 390, height: 800 }],
    ['on a phone, dark', { width: 390, height: 800, dark: true }],
  ])(
    '%s, every page is without errors, without requests elsewhere, and clean for assistive technology',
    async (_, how) => {
      const { page, faults } = await open(how);
      for (const name of PAGES) {
        await goTo(page, name);
        if (name === 'Users') await explain(page);
        expect(await accessibilityFaults(page), name).toEqual([]);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        expect(overflow, `${name} is wider than the window`).toBeLessThanOrEqual(0);
      }
      expect(faults).toEqual([]);
      await page.context().close();
    },
  );

  it('shows the fleet: each service answers, with its bundle, and times appear without a reload', async () => {
    const { page } = await open();
    const rows = page.getByRole('table', { name: 'The replicas of all services' }).locator('tbody tr');
    await expect.poll(() => rows.count(), { timeout: 60_000 }).toBe(4);
    const text = await rows.allInnerTexts();
    for (const service of ['ranking', 'updater', 'user-cache', 'pool']) {
      expect(text.find((row) => row.startsWith(service))).toContain('answers');
    }
    const ranks = page.locator('.figures div', { hasText: 'Rank p50' }).locator('dd');
    await expect
      .poll(
        async () => {
          await running.client.rank({ userId: USER, candidateIds: ['i0001'] });
          return ranks.textContent();
        },
        { timeout: 60_000 },
      )
      .toMatch(/[\d.]+ ms/);
    await page.context().close();
  });

  it('shows a history with the items that were recorded, and says where scores come from', async () => {
    const { page } = await open();
    await goTo(page, 'Users');
    await explain(page);
    const recorded = interactionsOf(USER, POSITIONS).reverse();
    const rows = page.getByRole('table', { name: /^The newest 50 of 120 positions/ }).locator('tbody tr');
    const cells = await rows.evaluateAll((all) =>
      all.map((row) => [...row.querySelectorAll('td')].map((td) => td.textContent ?? '')),
    );
    expect(cells.map(([age, item]) => [age, item])).toEqual(
      recorded.slice(0, 50).map(({ itemId }, i) => [String(i + 1), itemId]),
    );
    expect(cells.every((row) => /^\d+$/.test(row.at(-1) ?? ''))).toBe(true); // the group of each
    const { ranked } = await running.client.rank({ userId: USER, candidateIds: ['i0001', 'i0044'] });
    for (const { itemId, score } of ranked) {
      const item = page.locator('article', { has: page.getByRole('heading', { name: itemId }) });
      expect(await item.getByRole('heading').textContent()).toContain(score.toFixed(4));
      const parts = await item.locator('.sum b').allInnerTexts();
      const sum = parts.reduce((total, part) => total + Number(part.replace('−', '-')), 0);
      expect(Math.abs(sum - score)).toBeLessThan(1e-3);
      expect(await item.locator('svg rect').count()).toBeGreaterThan(50);
    }
    expect(page.url()).not.toContain(USER);
    await page.context().close();
  });

  it('says so if a user has no record, and names the field of a wrong request', async () => {
    const { page } = await open();
    await goTo(page, 'Users');
    await page.getByLabel('User id').fill('nobody');
    await page.getByRole('button', { name: 'Show history' }).click();
    await page.getByText('This user has no record').waitFor();
    await page.getByRole('button', { name: 'Score', exact: true }).click();
    await expect.poll(() => page.getByRole('alert').textContent()).toMatch(/itemIds: has 0 items/);
    await page.context().close();
  });

  it('maps every slot of the pool', async () => {
    const { page } = await open();
    await goTo(page, 'Pool');
    const { slots } = routeFields()[0] ?? { slots: 0 };
    const map = page.locator('.heat svg').first();
    expect(await map.locator('rect').count()).toBe(Math.ceil(slots / Math.ceil(slots / 1_024)));
    expect(await map.locator('rect:not(.unused)').count()).toBeGreaterThan(10);
    await page.context().close();
  });

  it('works by keyboard alone', async () => {
    const { page } = await open();
    await page.getByRole('heading', { level: 1 }).waitFor();
    await page.keyboard.press('Tab'); // skip
    for (let i = 0; i < PAGES.length; i++) await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: 'Queue' }).waitFor();
    expect(await page.evaluate(() => document.activeElement?.tagName)).toBe('H1');
    await page.context().close();
  });

  it('activates a bundle behind a confirmation, and rolls back', async () => {
    const { page, faults } = await open();
    await goTo(page, 'Bundles');
    await page.getByRole('button', { name: `Activate demo-next ${bundles.nextId}` }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('All users will be ranked').waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await expect.poll(() => dialog.count()).toBe(0);
    const active = async () => {
      const { info } = await running.client.rank({ userId: USER, candidateIds: ['i0001'] });
      return info.bundleId;
    };
    expect(await active()).toBe(bundles.demoId); // nothing has happened yet
    await page.getByRole('button', { name: `Activate demo-next ${bundles.nextId}` }).click();
    await dialog.getByRole('button', { name: 'Activate', exact: true }).click();
    await dialog.getByRole('status').waitFor();
    await expect.poll(active, { timeout: 60_000 }).toBe(bundles.nextId);
    await dialog.getByRole('button', { name: 'Close' }).click();
    await page.getByRole('button', { name: 'Roll back' }).click();
    await dialog.getByRole('button', { name: 'Roll back', exact: true }).click();
    await expect.poll(() => dialog.getByRole('status').textContent()).toContain(bundles.demoId);
    await expect.poll(active, { timeout: 60_000 }).toBe(bundles.demoId);
    expect(faults).toEqual([]);
    await page.context().close();
  });

  it('shows why a job was set aside, and puts it back', async () => {
    const { page } = await open();
    await goTo(page, 'Queue');
    const jobs = page.getByRole('table', { name: /jobs that were set aside/ }).locator('tbody tr');
    await expect.poll(() => jobs.count(), { timeout: 60_000 }).toBe(1);
    expect(await jobs.first().textContent()).toContain('encoding');
    await letJobsPass();
    await page.getByRole('button', { name: /^Retry job/ }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Retry', exact: true }).click();
    await page.getByRole('dialog').getByText('put back into the queue: 1 job').waitFor();
    await page.getByRole('button', { name: 'Close' }).click();
    await page.getByText('No jobs are set aside.').waitFor();
    await vi.waitUntil(
      async () => (await running.client.rank({ userId: UNLUCKY, candidateIds: ['i0001'] })).info.positionCount === 1,
      60_000,
    );
    await page.context().close();
  });

  it('writes no user and no item into its log', () => {
    const log = readFileSync(join(running.dir, 'logs', 'console-0.log'), 'utf8');
    expect(log).toContain('Console/explain');
    expect(log).not.toContain(USER);
    expect(log).not.toContain('i0044');
  });

  describe('with tokens', () => {
    let guarded: ServiceProcess;
    beforeAll(async () => {
      const tokens = join(dir, 'tokens');
      writeFileSync(tokens, `read ${VIEWER}\nadmin token-of-an-admin-1234\n`);
      const env = { CKV_TOKENS_FILE: tokens, CKV_CONSOLE_WRITES: 'true' };
      guarded = await startConsole(running.stack, { dir: join(dir, 'guarded'), env });
    });
    afterAll(() => guarded.stop());

    it('shows nothing to a user without a token, and keeps none beyond the page', async () => {
      const { page } = await openPage(browser as Browser, `http://${guarded.address}`);
      const field = page.getByLabel('Token with the role read or admin');
      await field.waitFor();
      expect(await accessibilityFaults(page)).toEqual([]);
      const nothing = async () => {
        expect(await page.getByRole('navigation').count()).toBe(0);
        expect(await page.locator('.panel').count()).toBe(0);
      };
      await nothing();
      await field.fill('a-wrong-token-123456');
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByRole('alert').waitFor();
      await nothing();
      await field.fill(VIEWER);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByRole('heading', { level: 1, name: 'Fleet' }).waitFor();
      const kept = await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]);
      expect(kept).toEqual([0, 0, '']);
      await page.reload();
      await field.waitFor();
      await nothing();
      await page.context().close();
    });

    it('refuses a change with a token of another role', async () => {
      const { page } = await openPage(browser as Browser, `http://${guarded.address}`);
      await page.getByLabel('Token with the role read or admin').fill(VIEWER);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await goTo(page, 'Bundles');
      await page.getByRole('button', { name: 'Roll back' }).click();
      const dialog = page.getByRole('dialog');
      await dialog.getByLabel('Token with the role admin').fill(VIEWER);
      await dialog.getByRole('button', { name: 'Roll back', exact: true }).click();
      await expect.poll(() => dialog.getByRole('alert').textContent()).toContain('lacks the role admin');
      expect(await dialog.getByLabel('Token with the role admin').inputValue()).toBe('');
      await page.context().close();
    });
  });

  async function explain(page: Page): Promise<void> {
    await page.getByLabel('User id').fill(USER);
    await page.getByLabel('Items to score').fill('i0001, i0044');
    await page.getByRole('button', { name: /^Explain/ }).click();
    await page.locator('article.explained').nth(1).waitFor();
    for (const summary of await page.locator('article summary').all()) await summary.click();
  }
});

function routeFields() {
  const { record } = parseManifest(readFileSync(join(DEMO_BUNDLE, 'bundle.json')));
  return record.fields.flatMap((field) => (field.kind === 'route' ? [field] : []));
}
