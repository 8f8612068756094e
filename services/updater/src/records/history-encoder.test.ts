import { encodeRecord, type Interaction } from '@collectivekv/domain';
import { createMemoryUserStore } from '@collectivekv/user-store';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ALL,
  append,
  behind,
  bench,
  bundleOf,
  interactionsOf,
  recordOf,
  recordOneByOne,
  upTo,
  useRecordWriter,
  writerFor,
} from './record-writer.fixture.js';

useRecordWriter();

describe('a bundle that encodes with history', () => {
  it('gives the same record for any cut into waves, with repeated waves and repeated events', async () => {
    // With its repeats, a wave has at most 14.
    const wave = fc.record({
      size: fc.integer({ min: 1, max: 10 }),
      tries: fc.integer({ min: 1, max: 2 }),
      repeats: fc.integer({ min: 0, max: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(wave, { minLength: 1, maxLength: 4 }), async (waves) => {
        const total = waves.reduce((sum, { size }) => sum + size, 0);
        const wanted = await recordOneByOne(behind, upTo(total));
        bench.store = createMemoryUserStore();
        const writer = writerFor(behind);
        let from = 0;
        for (const { size, tries, repeats } of waves) {
          const fresh = upTo(size, from);
          // Events that the record knows already, and a duplicated one.
          const events = [...upTo(Math.min(repeats, from), Math.max(0, from - repeats)), ...fresh, ...fresh.slice(-1)];
          for (let i = 0; i < tries; i++) {
            const counts = await append(writer, interactionsOf('u', events));
            const appliedCount = i === 0 ? size : 0;
            expect(counts).toEqual({ appliedCount, duplicateCount: events.length - appliedCount });
          }
          from += size;
        }
        expect(await recordOf(behind, 'u')).toEqual(wanted);
      }),
      { numRuns: 20 },
    );
  });

  it('encodes many users, each behind their own rows', async () => {
    const users = Array.from({ length: 150 }, (_, i) => `u${i}`);
    const writer = writerFor(behind);
    for (const from of [0, 3]) {
      await append(writer, ...users.map((userId, i) => interactionsOf(userId, upTo(3, from + i))));
    }
    expect(bench.reads).toEqual([64, 64, 22, 64, 64, 22]);
    const sample = [0, 77, 149];
    const records = await Promise.all(sample.map((i) => recordOf(behind, `u${i}`)));
    for (const [at, i] of sample.entries()) {
      const wanted = await recordOneByOne(behind, [...upTo(3, i), ...upTo(3, 3 + i)]);
      expect(records[at]?.rows).toEqual(wanted.rows);
    }
  });

  it('encodes behind nothing if the record is unreadable', async () => {
    await bench.store.replaceRecord(behind.model.encodingId, 'u', Buffer.from('no record'));
    await append(writerFor(behind), interactionsOf('u', upTo(3)));
    const { rows } = await recordOf(behind, 'u');
    expect(rows).toEqual((await recordOneByOne(behind, upTo(3))).rows);
  });

  it("refuses another encoding's record, and appends nothing for anybody in that call", async () => {
    const foreign = encodeRecord({
      encodingId: 'f'.repeat(16),
      strideBytes: behind.model.layout.strideBytes,
      lifetimeCount: 0,
      lastEventMs: 0,
      recentEvents: new Uint8Array(0),
      rows: new Uint8Array(0),
    });
    await bench.store.replaceRecord(behind.model.encodingId, 'bad', foreign);
    const [bad, good] = ['bad', 'good'].map((userId) => interactionsOf(userId, upTo(2))) as [
      Interaction[],
      Interaction[],
    ];
    await expect(append(writerFor(behind), bad, good)).rejects.toMatchObject({ reason: 'encoding_mismatch' });
    await expect(recordOf(behind, 'good')).rejects.toThrow('no record');
    expect(bench.appendedBytes).toEqual([]);
    expect(await append(writerFor(behind), good)).toEqual({ appliedCount: 2, duplicateCount: 0 });
  });

  it('reads the fence when the rows are encoded, not before', async () => {
    const writer = writerFor(behind);
    const interactions = interactionsOf('u', upTo(2));
    const encoded = await writer.encode(interactions);
    const asked: number[] = [];
    const validUntilMs = () => {
      asked.push(bench.reads.length);
      return 1;
    };
    const late = writer.append(new Map([['u', interactions]]), encoded, { ...ALL, validUntilMs });
    await expect(late).rejects.toMatchObject({ reason: 'deadline' });
    expect(asked).toEqual([1]);
    expect(bench.fences).toEqual([1]);
    await expect(recordOf(behind, 'u')).rejects.toThrow('no record');
  });
});

describe('a bundle of long records that encodes with history', () => {
  const long = bundleOf('long', { withHistory: true, wideBytes: 64_000 });

  it('reads as many records together as fit a message', async () => {
    const users = Array.from({ length: 8 }, (_, i) => interactionsOf(`u${i}`, upTo(2)));
    await append(writerFor(long), ...users);
    expect(bench.reads).toEqual([6, 2]);
  });

  it('reads one record alone if no two fit a message', async () => {
    const longer = bundleOf('longer', { withHistory: true, wideBytes: 64_000, maxPositions: 1_000 });
    await append(writerFor(longer), interactionsOf('a', [1]), interactionsOf('b', [1]));
    expect(bench.reads).toEqual([1, 1]);
  });
});
