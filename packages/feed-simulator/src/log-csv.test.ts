import { describe, expect, it } from 'vitest';
import { createFeedSimulator } from './feed-simulator.js';
import { formatExposure, LOG_HEADER, type LogPlan, simulateLog } from './log-csv.js';

function writeLog(plan: LogPlan): string {
  const users = [...simulateLog(createFeedSimulator({ seed: plan.seed }), plan)];
  return [LOG_HEADER, ...users.flat().map(formatExposure)].join('\n');
}

describe('log', () => {
  const plan: LogPlan = { seed: 5, firstUser: 40, userCount: 3, positionCount: 130 };

  it('has the same bytes for the same plan, and other bytes for another seed', () => {
    expect(writeLog(plan)).toBe(writeLog(plan));
    expect(writeLog({ ...plan, seed: 6 })).not.toBe(writeLog(plan));
  });

  it('gives every user the requested positions, and a user the same lines in every log', () => {
    const lines = writeLog(plan).split('\n');
    expect(lines).toHaveLength(1 + 3 * 130);
    const alone = writeLog({ ...plan, firstUser: 41, userCount: 1 }).split('\n');
    expect(lines.filter((line) => line.startsWith('u000041,'))).toEqual(alone.slice(1));
  });

  it('writes one field per column, without quotes', () => {
    const [header = '', first = ''] = writeLog(plan).split('\n');
    expect(header).toBe('user_id,item_id,timestamp_ms,action,label,watch_ratio,freshness,hour');
    expect(first).toMatch(/^u000040,i\d{4},\d{13},(skip|click|like),[01],[\d.]+,[\d.]+,[\d.]+$/);
  });
});
