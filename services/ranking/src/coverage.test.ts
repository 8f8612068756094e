import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { AnnouncedBundle, LoadedBundle } from '@collectivekv/bundles';
import { CkvError, createBundleModel, encodeRecord } from '@collectivekv/domain';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createCoverageSampler } from './coverage.js';
import type { ReadRecord } from './records/read-record.js';

const TARGET = fileURLToPath(new URL('../../../test/fixtures/bundles/target', import.meta.url));

/** A bundle without graphs. Its name gives it an id, and `maxPositions` an encoding. */
function bundleOf(name: string, maxPositions: number): LoadedBundle {
  const manifest = { ...JSON.parse(readFileSync(`${TARGET}/bundle.json`, 'utf8')), name, maxPositions };
  const itemIds = JSON.parse(readFileSync(`${TARGET}/items.json`, 'utf8')).ids;
  return {
    model: createBundleModel({ manifestBytes: Buffer.from(JSON.stringify(manifest)), itemIds }),
  } as LoadedBundle;
}

const active = bundleOf('active', 100);
const retrained = bundleOf('retrained', 100); // the encoding of the active bundle
const other = bundleOf('other', 50);
const loaded = [active, retrained, other];
let announced: LoadedBundle[];
let recordsChange: number;
/** Positions of the record under another encoding, by user. Undefined: the user has none. */
let positions: Record<string, number | undefined>;
let read: ReturnType<typeof vi.fn<ReadRecord>>;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'Date'] });
  announced = [active, retrained, other];
  recordsChange = 0;
  positions = {};
  read = vi.fn<ReadRecord>(async (encodingId, userId) => {
    const positionCount = positions[userId];
    if (positionCount === undefined) return undefined;
    const { strideBytes } = other.model.layout;
    const rows = Buffer.alloc(positionCount * strideBytes);
    const counts = { lifetimeCount: positionCount, lastEventMs: 1, recentEvents: Buffer.of() };
    return encodeRecord({ encodingId, strideBytes, rows, ...counts });
  });
});
afterEach(() => vi.useRealTimers());

function open(ratePerS = 1_000) {
  const bundles = {
    active: () => active,
    announced: () =>
      announced.map(
        ({ model }): AnnouncedBundle => ({ bundleId: model.id, state: 'warming', shareBp: 0, recordsChange }),
      ),
    get(bundleId: string) {
      const found = loaded.find(({ model }) => model.id === bundleId && model.id !== 'f'.repeat(16));
      if (found) return found;
      throw new CkvError('bundle_not_loaded', 'no such bundle');
    },
  };
  const sampler = createCoverageSampler({ bundles, read, ratePerS });
  return {
    counts: () => sampler.counts().get(other.model.encodingId),
    encodings: () => [...sampler.counts().keys()],
    /** Observes a request, lets its reads end, and lets time pass until the next one's turn. */
    async observe(userId: string, recordPositionCount: number, bundle = active, passMs = 1_000 / ratePerS) {
      sampler.observe({ userId, bundle, recordPositionCount });
      for (let i = 0; i < 3; i++) await new Promise(setImmediate);
      vi.advanceTimersByTime(passMs);
    },
  };
}

it('counts a record as warm if it has nine tenths of the positions, as far as the encoding keeps so many', async () => {
  const { observe, counts, encodings } = open();
  positions = { warm: 9, begun: 8, full: 45, short: 44 };
  await observe('warm', 10);
  expect(counts()).toMatchObject({ sampledCount: 1, warmCount: 1 });
  await observe('begun', 10);
  expect(counts()).toMatchObject({ sampledCount: 2, warmCount: 1 });
  await observe('full', 100); // the encoding keeps 50
  expect(counts()).toMatchObject({ sampledCount: 3, warmCount: 2 });
  await observe('short', 100);
  await observe('none', 10);
  expect(counts()).toMatchObject({ sampledCount: 5, warmCount: 2 });
  expect(encodings()).toEqual([other.model.encodingId]);
});

it('looks at no user without a record, and at no request that another encoding answered', async () => {
  const { observe, counts } = open();
  await observe('u', 0);
  await observe('u', 10, other);
  expect(read).not.toHaveBeenCalled();
  await observe('u', 10, retrained);
  expect(counts()).toMatchObject({ sampledCount: 1, warmCount: 0 });
});

it('looks at no more requests than the rate allows, and at one at a time', async () => {
  const { observe } = open(10);
  await observe('u', 10, active, 99);
  await observe('u', 10, active, 1);
  expect(read).toHaveBeenCalledTimes(1);
  await observe('u', 10);
  expect(read).toHaveBeenCalledTimes(2);

  const slow = open();
  let answer = (_: undefined) => {};
  read.mockImplementation(
    () =>
      new Promise<undefined>((resolve) => {
        answer = resolve;
      }),
  );
  await slow.observe('u', 10);
  await slow.observe('u', 10);
  expect(read).toHaveBeenCalledTimes(3);
  answer(undefined);
  await slow.observe('u', 10); // lets the answer in
  await slow.observe('u', 10);
  expect(read).toHaveBeenCalledTimes(4);
});

it('forgets an encoding that is announced no more, and requests of ten minutes ago', async () => {
  const { observe, counts, encodings } = open();
  await observe('u', 10);
  vi.advanceTimersByTime(600_001);
  expect(counts()).toMatchObject({ sampledCount: 0, warmCount: 0 });
  announced = [active, retrained];
  await observe('u', 10);
  expect(encodings()).toEqual([]);
});

it('measures anew after a records change', async () => {
  const { observe, counts } = open();
  positions = { u: 10 };
  await observe('u', 10);
  recordsChange = 2;
  positions = {};
  await observe('u', 10);
  expect(counts()).toEqual({ sampledCount: 1, warmCount: 0, recordsChange: 2 });

  let answer = (_: undefined) => {};
  read.mockImplementationOnce(
    () =>
      new Promise<undefined>((resolve) => {
        answer = resolve;
      }),
  );
  await observe('u', 10);
  recordsChange = 3;
  answer(undefined);
  await observe('u', 10); // the answer is let in behind this one, which finds the other under way
  expect(counts()).toEqual({ sampledCount: 2, warmCount: 0, recordsChange: 2 }); // the pool does not count these
  await observe('u', 10);
  expect(counts()).toEqual({ sampledCount: 1, warmCount: 0, recordsChange: 3 });
});

it('goes on after a read that fails, which does not count', async () => {
  const { observe, counts } = open();
  read.mockRejectedValueOnce(new CkvError('dependency_unavailable', 'Redis is away'));
  await observe('u', 10);
  expect(counts()).toMatchObject({ sampledCount: 0 });
  await observe('u', 10);
  expect(counts()).toMatchObject({ sampledCount: 1, warmCount: 0 });
});
