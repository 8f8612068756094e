import { describe, expect, it } from 'vitest';
import { stripJob } from './strip-job.js';

const u = { userId: 'u' };
const one = (userId: unknown, eventId: unknown = 'e', itemId: unknown = 'i') => ({ eventId, userId, itemId });
const recordOf = (...interactions: unknown[]) => JSON.stringify({ version: 1, interactions });
const strip = (jobData: unknown, subject: { userId: string; eventId?: string } = u) =>
  stripJob(typeof jobData === 'string' ? jobData : JSON.stringify(jobData), subject);
const NOTHING = { left: 'nothing' };
const ALL = { left: 'all' };

describe('a deleted user', () => {
  it("loses the own interactions of a job, and keeps the others'", () => {
    const others = [one('v'), one('w', 'u', 'u')];
    expect(strip(recordOf(one('u'), others[0], one('u', 'f'), others[1]))).toEqual({
      left: 'part',
      jobData: recordOf(...others),
    });
  });

  it.each([
    ['only interactions of the user', recordOf(one('u'), one('u', 'f'))],
    ['an interaction to forget', { version: 1, interaction: one('u') }],
    ['a schema of its own', { version: 7, rows: [{ who: ['u'] }] }],
    ['the user as a key', { version: 1, byUser: { u: [1] } }],
    ['a text', '"u"'],
    ['a list', ['u']],
    ['text that is no JSON', '{"userId":"u","x":NaN}'],
    ['text that was cut', '{"userId":"u'],
    ['unreadable fields', { unreadable: { data: '{"userId":"u","x":NaN}' } }],
  ])('loses a whole job with %s', (_, jobData) => {
    expect(strip(jobData)).toEqual(NOTHING);
  });

  it('loses the fields beside a list, but not the interactions of others in it', () => {
    const jobData = { version: 1, interactions: [one('v')], sender: 'u', attempt: 2 };
    const { sender: _, ...kept } = jobData;
    expect(strip(jobData)).toEqual({ left: 'part', jobData: JSON.stringify(kept) });
    const counted = { version: 1, interactions: [one('v')], attempt: 1 };
    expect(strip(counted, { userId: '1' })).toEqual({ left: 'part', jobData: recordOf(one('v')) });
  });

  it('with a number as the id is not found in every unreadable text that has this number', () => {
    const number = { userId: '17' };
    for (const text of ['{"userId":"17", NaN', '{"userId": 17, NaN', "user_id=17, user_id=18,'"]) {
      expect(strip(text, number)).toEqual(NOTHING);
    }
    for (const text of ['{"version": 17, "userId": "v", NaN', '{"userId":"170", NaN', '{"userId":170, NaN']) {
      expect(strip(text, number)).toEqual(ALL);
    }
  });

  it.each([
    ['M\u00fcller', '{"userId":"M\\u00fcller","x":NaN}'],
    ['M\u00fcller', '{"userId":"M\\u00FCller","x":NaN}'],
    ['\u{1f600}', '{"userId":"\\ud83d\\ude00","x":NaN}'],
    ['a/b', '{"userId":"a\\/b","x":NaN}'],
    ['a.b', '{"userId":"\\u0061.b","x":NaN}'],
  ])('is found under the id %s in the unreadable text %s', (userId, text) => {
    expect(strip(text, { userId })).toEqual(NOTHING);
  });

  it.each([
    ['interactions of others', recordOf(one('v'), one('uu'))],
    ['items, events and actions of that name', recordOf({ ...one('v', 'u', 'u'), action: 'u' })],
    ['text with a longer word', '{"userId":"uu", NaN'],
    ['unreadable fields without the user', { unreadable: { data: '{"userId":"vu9"' } }],
    ['nothing', {}],
    ['null', 'null'],
  ])('leaves a job with %s', (_, jobData) => {
    expect(strip(jobData)).toEqual(ALL);
  });

  it('is found under a number, and the version is not the user', () => {
    expect(strip(recordOf(one(1), one(2)), { userId: '1' })).toEqual({ left: 'part', jobData: recordOf(one(2)) });
    expect(strip(recordOf(one('v')), { userId: '1' })).toEqual(ALL);
    expect(strip({}, { userId: 'undefined' })).toEqual(ALL);
  });

  it.each(['a"b', 'a\\b', 'ä', 'a.b', '(a', '😀', '\n'])(
    'is found under the id %j in JSON and in other text',
    (userId) => {
      expect(strip(recordOf(one(userId)), { userId })).toEqual(NOTHING);
      expect(strip(`${JSON.stringify({ userId })} NaN`, { userId })).toEqual(NOTHING);
      expect(strip('"\\u00e4"', { userId: 'ä' })).toEqual(NOTHING);
    },
  );

  it('loses jobs that delete the user or forget an event, with their receipts', () => {
    expect(strip({ version: 1, userId: 'u', receiptId: 'r' })).toEqual({
      left: 'nothing',
      erasure: { userId: 'u', receiptId: 'r' },
    });
    expect(strip({ version: 1, interaction: one('u'), receiptId: 'r' })).toEqual({
      left: 'nothing',
      erasure: { userId: 'u', eventId: 'e', receiptId: 'r' },
    });
    expect(strip({ version: 1, userId: 'v', receiptId: 'r' })).toEqual(ALL);
  });
});

describe('a forgotten event', () => {
  const subject = { userId: 'u', eventId: 'e' };

  it("is taken out alone; the user's other events and other users' events of that name stay", () => {
    const kept = [one('u', 'f'), one('v', 'e')];
    expect(strip(recordOf(one('u'), ...kept), subject)).toEqual({ left: 'part', jobData: recordOf(...kept) });
    expect(strip(recordOf(...kept), subject)).toEqual(ALL);
    expect(strip({ version: 1, userId: 'u', receiptId: 'r' }, subject)).toEqual(ALL);
  });

  it('takes a job with it that cannot be read, or has an unknown schema', () => {
    expect(strip('{"eventId":"e", NaN', subject)).toEqual(NOTHING);
    expect(strip({ version: 2, event: 'e' }, subject)).toEqual(NOTHING);
  });
});
