import { describe, expect, it } from 'vitest';
import {
  ALL,
  alone,
  append,
  behind,
  bench,
  bundleOf,
  interactionOf,
  interactionsOf,
  MAX_POSITIONS,
  recordEncodings,
  recordOf,
  recordOneByOne,
  soon,
  upTo,
  useRecordWriter,
  writerFor,
} from './record-writer.fixture.js';
import { createRecordWriter } from './record-writer.js';

useRecordWriter();

describe('the writer', () => {
  it('passes on all rows that it encodes, with and without history', async () => {
    const positions = new Map<string, number>();
    const writer = createRecordWriter({
      bundles: { all: () => [alone, behind], hold: () => () => undefined },
      recordEncodings,
      userCache: bench.userCache,
      batchSize: 7,
      concurrency: 3,
      onEncoded: ({ id, layout }, rows) =>
        void positions.set(id, (positions.get(id) ?? 0) + rows.length / layout.strideBytes),
    });
    await append(writer, interactionsOf('u', upTo(3)), interactionsOf('v', upTo(2)));
    expect([alone, behind].map(({ model }) => positions.get(model.id))).toEqual([5, 5]);
  });

  it('throws dependency_unavailable before a bundle is loaded', async () => {
    const interaction = interactionOf('u', 1);
    await expect(writerFor().encode([interaction])).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    await expect(writerFor().forget(interaction, soon)).rejects.toMatchObject({ reason: 'dependency_unavailable' });
  });

  it('counts the items and actions that the active bundle does not know', async () => {
    const [first, ...others] = interactionsOf('u', [1, 2, 3]).map((one) => ({ ...one, action: 'like' }));
    if (!first) throw new Error('no interaction');
    const strange = [
      { ...first, itemId: 'nothing' },
      { ...first, action: 'dance' },
      { ...first, action: '' },
    ];
    expect(await writerFor(alone, behind).encode([...strange, ...others])).toMatchObject({
      unknownItemCount: 1,
      unknownActionCount: 2,
    });
  });

  it('encodes in runs of the batch size', async () => {
    const interactions = interactionsOf('u', upTo(20));
    const { encodings } = await writerFor(alone).encode(interactions);
    expect(bench.runs).toEqual([7, 7, 6]);
    const [one] = encodings;
    expect(one?.encoded?.rows.length).toBe(20 * alone.model.layout.strideBytes);
    expect(interactions.map((interaction) => one?.encoded?.rowOf.get(interaction))).toEqual(upTo(20));
  });

  it('encodes nothing before the append if the rows depend on the history', async () => {
    const { encodings } = await writerFor(behind).encode(interactionsOf('u', upTo(3)));
    expect(bench.runs).toEqual([]);
    expect(encodings).toMatchObject([{ bundle: behind, encoded: undefined }]);
  });

  it('starts no further user after a failed run, and appends nothing', async () => {
    const users = Array.from({ length: 10 }, (_, i) => interactionsOf(`u${i}`, [1]));
    bench.brokenRuns = 1;
    await expect(append(writerFor(behind), ...users)).rejects.toMatchObject({ reason: 'bug' });
    expect(bench.runs.length).toBe(3); // as many as run at once
    expect(bench.appendedBytes).toEqual([]);
  });

  it('calls nobody for users without a new interaction', async () => {
    await append(writerFor(behind), interactionsOf('u', [1]));
    expect(await append(writerFor(behind), interactionsOf('u', [1]))).toEqual({ appliedCount: 0, duplicateCount: 1 });
    expect(bench.appendedBytes.length).toBe(1);
  });

  it('keeps the time of the newest interaction', async () => {
    await append(writerFor(alone), interactionsOf('u', [5, 3]));
    expect((await recordOf(alone, 'u')).lastEventMs).toBe(1_700_000_000_005);
  });
});

describe('a bundle of wide rows', () => {
  it('appends as many users in a call as fit its message', async () => {
    const wide = bundleOf('wide', { wideBytes: 64_000 });
    const users = Array.from({ length: 20 }, (_, i) => interactionsOf(`u${i}`, upTo(14)));
    expect(await append(writerFor(wide), ...users)).toEqual({ appliedCount: 280, duplicateCount: 0 });
    expect(bench.appendedBytes.length).toBe(3);
    expect(Math.max(...bench.appendedBytes)).toBeLessThan(9 * 1024 * 1024);
    expect((await recordOf(wide, 'u19')).positionCount).toBe(14);
  });
});

describe.each([
  ['without history', alone],
  ['with history', behind],
])('the records of one encoding of several, %s', (_, wanted) => {
  const other = bundleOf('another', { maxPositions: MAX_POSITIONS - 1 });
  const byUser = new Map(['u', 'v'].map((userId) => [userId, interactionsOf(userId, upTo(2))]));

  it('are written alone if no other is wanted', async () => {
    const writer = writerFor(other, wanted);
    const encoded = await writer.encode([...byUser.values()].flat(), (id) => id === wanted.model.encodingId);
    await writer.append(byUser, encoded, ALL);
    expect((await recordOf(wanted, 'u')).positionCount).toBe(2);
    await expect(recordOf(other, 'u')).rejects.toThrow('no record');
  });

  it('get nothing of a user for whom they are not written', async () => {
    const writer = writerFor(other, wanted);
    const writes = (id: string, userId: string) => id === other.model.encodingId || userId === 'v';
    await writer.append(byUser, await writer.encode([...byUser.values()].flat()), { ...ALL, writes });
    await expect(recordOf(wanted, 'u')).rejects.toThrow('no record');
    expect((await recordOf(wanted, 'v')).positionCount).toBe(2);
    expect((await recordOf(other, 'u')).positionCount).toBe(2);
  });

  it('tell whose interactions are repeated', async () => {
    const writer = writerFor(wanted);
    await append(writer, interactionsOf('u', [1]));
    const { repeatedUsers } = await writer.append(byUser, await writer.encode([...byUser.values()].flat()), ALL);
    expect(repeatedUsers).toEqual(new Set(['u']));
  });

  it('are known to a writer that follows a bundle of theirs', () => {
    const { encodingId } = wanted.model;
    expect([writerFor(wanted).knows(encodingId), writerFor(other).knows(encodingId)]).toEqual([true, false]);
  });
});

describe.each([
  ['without history', alone, bundleOf('retrained', {})],
  ['with history', behind, bundleOf('retrained', { withHistory: true })],
])('two bundles with one encoding, %s', (_, first, second) => {
  const interactions = interactionsOf('u', upTo(3));

  it('share an encode run, an append and a record', async () => {
    expect(second.model.id).not.toBe(first.model.id);
    expect(await append(writerFor(first, second), interactions)).toEqual({ appliedCount: 3, duplicateCount: 0 });
    expect([bench.runs.reduce((sum, run) => sum + run, 0), bench.appendedBytes.length]).toEqual([3, 1]);
    expect(bench.reads.length).toBe(first.model.encodesWithHistory ? 1 : 0);
    expect([...bench.noted]).toEqual([first.model.encodingId]);
    expect(await recordOf(second, 'u')).toEqual(await recordOf(first, 'u'));
  });

  it('go on with the record that the other one wrote', async () => {
    await append(writerFor(first), interactions);
    expect(await append(writerFor(second), interactionsOf('u', upTo(5)))).toEqual({
      appliedCount: 2,
      duplicateCount: 3,
    });
    expect(await recordOf(second, 'u')).toEqual(await recordOneByOne(first, upTo(5)));
  });

  it('append if one of them is dropped between encoding and appending', async () => {
    const bundles = [first, second];
    const writer = createRecordWriter({
      bundles: { all: () => bundles, hold: () => () => undefined },
      recordEncodings,
      userCache: bench.userCache,
      batchSize: 7,
      concurrency: 3,
    });
    const encoded = await writer.encode(interactions);
    bundles.shift();
    expect(await writer.append(new Map([['u', interactions]]), encoded, ALL)).toMatchObject({
      appliedCount: 3,
      duplicateCount: 0,
    });
    expect((await recordOf(second, 'u')).positionCount).toBe(3);
  });
});

it('holds a bundle whenever its graphs run, and afterwards no more', async () => {
  let holdCount = 0;
  const holdCounts: number[] = [];
  const watched = [alone, behind].map((bundle) => ({
    ...bundle,
    graphs: {
      ...bundle.graphs,
      run: (...call: Parameters<typeof bundle.graphs.run>) => {
        holdCounts.push(holdCount);
        return bundle.graphs.run(...call);
      },
    },
  }));
  const hold = () => {
    holdCount++;
    return () => {
      holdCount--;
    };
  };
  const writer = createRecordWriter({
    bundles: { all: () => watched, hold },
    recordEncodings,
    userCache: bench.userCache,
    batchSize: 2,
    concurrency: 3,
  });
  await append(writer, interactionsOf('held', upTo(5)));
  expect(holdCounts.length).toBeGreaterThan(3);
  expect(Math.min(...holdCounts)).toBe(1);
  expect(holdCount).toBe(0);
});

describe('two bundles, one of which encodes with history', () => {
  it.each([
    ['with history', [behind, alone]],
    ['without history', [alone, behind]],
  ])('have records of their own, as if each were the only bundle; active: %s', async (_, bundles) => {
    const writer = writerFor(...bundles);
    let counts = { appliedCount: 0, duplicateCount: 0 };
    for (const events of [upTo(9), [8, ...upTo(9, 9)], upTo(6, 18)]) {
      counts = await append(writer, interactionsOf('u', events));
    }
    expect(counts).toEqual({ appliedCount: 6, duplicateCount: 0 });
    const [ofBehind, ofAlone] = [await recordOf(behind, 'u'), await recordOf(alone, 'u')];
    expect(ofBehind).toEqual(await recordOneByOne(behind, upTo(24)));
    expect(ofAlone).toEqual(await recordOneByOne(alone, upTo(24)));
    expect(ofBehind.rows).not.toEqual(ofAlone.rows);
  });

  it('go on without a bundle that is dropped between encoding and appending', async () => {
    const bundles = [behind, alone];
    const writer = createRecordWriter({
      bundles: { all: () => bundles, hold: () => () => undefined },
      recordEncodings,
      userCache: bench.userCache,
      batchSize: 7,
      concurrency: 3,
    });
    const interactions = interactionsOf('u', upTo(3));
    const encoded = await writer.encode(interactions);
    bundles.shift();
    const counts = await writer.append(new Map([['u', interactions]]), encoded, ALL);
    expect(counts).toMatchObject({ appliedCount: 3, duplicateCount: 0 });
    await expect(recordOf(behind, 'u')).rejects.toThrow('no record');
  });
});
