import { beforeEach, describe, expect, it } from 'vitest';
import {
  alone,
  append,
  behind,
  bench,
  bundleOf,
  interactionOf,
  interactionsOf,
  MAX_POSITIONS,
  recordOf,
  soon,
  upTo,
  useRecordWriter,
  writerFor,
} from './record-writer.fixture.js';

useRecordWriter();

describe('an erasure', () => {
  it('searches by the event alone for a removal without an item', async () => {
    const interaction = interactionOf('u', 1);
    await append(writerFor(alone), [interaction]);
    const forgotten = await writerFor(alone).forget({ ...interaction, itemId: '' }, soon);
    expect(forgotten).toEqual([
      {
        encodingId: alone.model.encodingId,
        recordCount: 0,
        unreadableCount: 0,
        positionCount: 1,
        remainder: 'nothing',
      },
    ]);
    expect([bench.deletedRows, bench.tolerances]).toEqual([[0], [[]]]);
  });

  it('allows the int8 fields of a row to differ by one step, and no other field', async () => {
    const stepped = bundleOf('stepped', { steps: 2 });
    const interaction = interactionOf('u', 1);
    await append(writerFor(stepped), [interaction]);
    expect(await writerFor(stepped).forget(interaction, soon)).toMatchObject([{ positionCount: 1 }]);
    expect(bench.tolerances).toEqual([[0, 0, 1, 1]]);
  });

  it('reads the fence of a deletion when the row is encoded, not before', async () => {
    const interaction = interactionOf('u', 1);
    await append(writerFor(alone), [interaction]);
    bench.runs = [];
    bench.fences = [];
    const endsMs = [Date.now() + 60_000, 1]; // before and after the run
    const late = writerFor(alone).forget(interaction, () => endsMs[bench.runs.length] ?? 0);
    await expect(late).rejects.toMatchObject({ reason: 'deadline' });
    expect(bench.fences).toEqual(endsMs);
    expect((await recordOf(alone, 'u')).positionCount).toBe(1);
  });

  it('finds nothing to delete for a user without a record', async () => {
    const interaction = interactionOf('u', 1);
    expect(await writerFor(alone, behind).forget(interaction, soon)).toEqual([]);
    expect(bench.deletedRows).toEqual([]);
  });

  it('deletes a record that cannot be read, which may hold the interaction', async () => {
    await bench.store.replaceRecord(alone.model.encodingId, 'u', Buffer.from('garbage'));
    const interaction = interactionOf('u', 1);
    expect(await writerFor(alone).forget(interaction, soon)).toEqual([
      {
        encodingId: alone.model.encodingId,
        recordCount: 0,
        unreadableCount: 1,
        positionCount: 0,
        remainder: 'nothing',
      },
    ]);
    await expect(recordOf(alone, 'u')).rejects.toThrow('no record');
  });

  it('throws other failures of a deletion', async () => {
    const interaction = interactionOf('u', 1);
    await append(writerFor(behind), [interaction]);
    const [foreign] = await bench.store.getRecords(behind.model.encodingId, ['u']);
    await bench.store.replaceRecord(alone.model.encodingId, 'u', foreign ?? Buffer.alloc(0));
    await expect(writerFor(alone).forget(interaction, soon)).rejects.toMatchObject({ reason: 'encoding_mismatch' });
  });

  it('deletes a position by its event alone if the bundle encodes with history', async () => {
    const writer = writerFor(behind);
    const interactions = interactionsOf('u', upTo(MAX_POSITIONS));
    for (const one of interactions) await append(writer, [one]);
    const [old, recent] = [interactions[2], interactions.at(-2)];
    if (!old || !recent) throw new Error('no interaction');
    const newest = interactions.at(-1) ?? recent;
    expect(await writer.forget(recent, soon)).toMatchObject([{ positionCount: 1, remainder: 'later_rows' }]);
    expect(await writer.forget(recent, soon)).toMatchObject([{ positionCount: 0, remainder: 'later_rows' }]);
    expect(await writer.forget(newest, soon)).toMatchObject([{ positionCount: 1, remainder: 'nothing' }]);
    expect(await writer.forget(old, soon)).toMatchObject([{ positionCount: 0, remainder: 'not_found' }]);
    expect(bench.deletedRows).toEqual([0, 0, 0, 0]);
    expect((await recordOf(behind, 'u')).positionCount).toBe(MAX_POSITIONS - 2);
  });

  it('deletes an old position only from the record whose row the content gives', async () => {
    const writer = writerFor(behind, alone);
    const interactions = interactionsOf('u', upTo(MAX_POSITIONS));
    for (const one of interactions) await append(writer, [one]);
    const [old] = interactions;
    if (!old) throw new Error('no interaction');
    const forgotten = await writer.forget(old, soon);
    expect(new Map(forgotten.map(({ encodingId, ...rest }) => [encodingId, rest]))).toEqual(
      new Map([
        [behind.model.encodingId, { recordCount: 0, unreadableCount: 0, positionCount: 0, remainder: 'not_found' }],
        [alone.model.encodingId, { recordCount: 0, unreadableCount: 0, positionCount: 1, remainder: 'nothing' }],
      ]),
    );
    expect((await recordOf(behind, 'u')).positionCount).toBe(MAX_POSITIONS);
    expect((await recordOf(alone, 'u')).positionCount).toBe(MAX_POSITIONS - 1);
  });
});

describe('bundles that the updater no longer follows', () => {
  const [first, second] = [interactionOf('u', 1), interactionOf('u', 2)];
  beforeEach(async () => {
    await append(writerFor(behind, alone), [first, second]);
  });

  it('are searched by the event alone, and may keep rows that learned from it', async () => {
    const [ofBehind] = (await writerFor(alone).forget(first, soon)).filter(
      ({ encodingId }) => encodingId === behind.model.encodingId,
    );
    expect(ofBehind).toMatchObject({ positionCount: 1, remainder: 'later_rows' });
    expect((await recordOf(behind, 'u')).positionCount).toBe(1);
    expect(bench.lookedFor).toEqual([expect.arrayContaining([behind.model.encodingId, alone.model.encodingId])]);
  });

  it('are deleted with the user', async () => {
    const deleted = await writerFor(alone).deleteUser('u', soon);
    expect(deleted.map((one) => [one.encodingId, one.recordCount, one.positionCount]).sort()).toEqual(
      [behind.model.encodingId, alone.model.encodingId].sort().map((id) => [id, 1, 2]),
    );
    expect(bench.lookedFor).toEqual([expect.arrayContaining([behind.model.encodingId, alone.model.encodingId])]);
    await expect(recordOf(behind, 'u')).rejects.toThrow('no record');
    expect(await writerFor(alone).deleteUser('u', soon)).toEqual([]);
  });

  it('are not deleted after the fence has ended', async () => {
    await expect(writerFor(alone).deleteUser('u', () => 1)).rejects.toMatchObject({ reason: 'deadline' });
    expect((await recordOf(behind, 'u')).positionCount).toBe(2);
  });
});
