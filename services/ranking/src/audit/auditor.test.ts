import { CkvError } from '@collectivekv/domain';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { RankAnswer } from '../ranker.js';
import type { AuditCheck, CheckResult } from './audit-check.js';
import type { AuditMetrics } from './audit-metrics.js';
import { type Auditor, type AuditorOptions, createAuditor } from './auditor.js';

const BUSY = { timeout: 60_000, interval: 5 }; // a busy machine

const answer = {
  scores: Float32Array.of(0.1, 0.2, 0.3),
  bundleId: '0123456789abcdef',
  positionCount: 7,
  mergedCount: 1,
  partCount: 1,
} as RankAnswer;

const count = vi.fn<AuditMetrics['count']>();
const compare = vi.fn<AuditMetrics['compare']>();
const warn = vi.fn();
const run = vi.fn<AuditCheck['run']>();
const scores = (...values: number[]): CheckResult => ({ kind: 'scores', scores: Float32Array.from(values) });
beforeEach(() => {
  vi.clearAllMocks();
  run.mockReset();
  run.mockResolvedValue(scores(0.1, 0.2, 0.3));
});

const auditorWith = (options: Partial<AuditorOptions> = {}): Auditor =>
  createAuditor({
    checks: [{ name: 'path', mustAgree: true, run }],
    share: 1,
    maxPerS: 1_000,
    tolerance: 1e-4,
    busy: () => false,
    metrics: { count, compare },
    log: { warn },
    ...options,
  });
const untilDone = (auditor: Auditor) => vi.waitUntil(() => auditor.waitingCount === 0, BUSY);

describe('an answer', () => {
  it('is compared after it was given, and not before', async () => {
    const auditor = auditorWith();
    auditor.offer(answer);
    await Promise.resolve();
    expect(run).not.toHaveBeenCalled();
    await untilDone(auditor);
    expect(compare).toHaveBeenCalledExactlyOnceWith(
      'path',
      { largestDifference: 0, kendallTau: 1, topOverlap: 1 },
      false,
    );
  });

  it('is audited by its share', async () => {
    const draws = [0.1, 0.25, 0.24, 0.9];
    const auditor = auditorWith({ share: 0.25, random: () => draws.shift() ?? 1 });
    for (let i = 0; i < 4; i++) auditor.offer(answer);
    await untilDone(auditor);
    expect(run).toHaveBeenCalledTimes(2);
  });

  it('is audited only as often as the rate allows', async () => {
    vi.useFakeTimers({ toFake: ['Date', 'performance'] });
    try {
      const auditor = auditorWith({ maxPerS: 2 });
      const offer = async (wanted: number) => {
        run.mockClear();
        for (let i = 0; i < 5; i++) auditor.offer(answer);
        await untilDone(auditor);
        expect(run).toHaveBeenCalledTimes(wanted);
      };
      await offer(2);
      await offer(0);
      vi.advanceTimersByTime(500);
      await offer(1);
      vi.advanceTimersByTime(60_000);
      await offer(2);
    } finally {
      vi.useRealTimers();
    }
  });

  it('is dropped and counted if 16 wait', async () => {
    const auditor = auditorWith();
    for (let i = 0; i < 20; i++) auditor.offer(answer);
    expect(auditor.waitingCount).toBe(16);
    expect(count.mock.calls).toEqual(Array(4).fill(['path', 'dropped']));
    await untilDone(auditor);
    expect(run).toHaveBeenCalledTimes(16);
  });
});

it('audits wait while the service is busy', async () => {
  let busy = true;
  const auditor = auditorWith({ busy: () => busy });
  const looked = vi.fn(() => busy);
  const other = auditorWith({ busy: looked });
  auditor.offer(answer);
  other.offer(answer);
  await vi.waitUntil(() => looked.mock.calls.length >= 3, BUSY);
  expect(run).not.toHaveBeenCalled();
  busy = false;
  await untilDone(auditor);
  await untilDone(other);
  expect(run).toHaveBeenCalledTimes(2);
});

describe('a breach', () => {
  it('is counted, and logged without the user', async () => {
    run.mockResolvedValue(scores(0.1, 0.2, 0.3002));
    const auditor = auditorWith();
    auditor.offer({ ...answer, basis: { query: { userId: 'u-secret' } } } as RankAnswer);
    await untilDone(auditor);
    expect(compare).toHaveBeenCalledWith('path', expect.objectContaining({ kendallTau: 1 }), true);
    const [fields, message] = warn.mock.calls[0] ?? [];
    expect(message).toBe('served scores are not confirmed');
    expect(fields).toMatchObject({ bundleId: answer.bundleId, tolerance: 1e-4, candidateCount: 3, positionCount: 7 });
    expect(fields.largestDifference).toBeCloseTo(2e-4, 6);
    expect(JSON.stringify(warn.mock.calls)).not.toContain('u-secret');
  });

  it('is logged once in ten seconds, and counted every time', async () => {
    run.mockResolvedValue(scores(1, 2, 3));
    const auditor = auditorWith();
    for (let i = 0; i < 5; i++) auditor.offer(answer);
    await untilDone(auditor);
    expect(compare).toHaveBeenCalledTimes(5);
    expect(warn).toHaveBeenCalledTimes(1);
  });

  it('is none if the scores need not agree', async () => {
    run.mockResolvedValue(scores(3, 2, 1));
    const auditor = auditorWith({ checks: [{ name: 'shadow', mustAgree: false, run }] });
    auditor.offer(answer);
    await untilDone(auditor);
    expect(compare).toHaveBeenCalledExactlyOnceWith('shadow', expect.objectContaining({ kendallTau: -1 }), false);
    expect(warn).not.toHaveBeenCalled();
  });
});

it('a check that fails is counted and logged, and the others go on', async () => {
  run.mockRejectedValueOnce(new CkvError('bundle_invalid', 'it does not load'));
  const auditor = auditorWith();
  auditor.offer(answer);
  auditor.offer(answer);
  await untilDone(auditor);
  expect(count.mock.calls).toEqual([['path', 'failed']]);
  expect(compare).toHaveBeenCalledTimes(1);
  expect(warn).toHaveBeenCalledWith(
    { check: 'path', reason: 'bundle_invalid', problem: 'it does not load', leftOut: 0 },
    'an answer cannot be audited',
  );
});

it('a closed auditor takes no answer, and drops what waits', async () => {
  const auditor = auditorWith({ busy: () => true });
  auditor.offer(answer);
  await auditor.close();
  auditor.offer(answer);
  expect(auditor.waitingCount).toBe(0);
  expect(run).not.toHaveBeenCalled();
});
