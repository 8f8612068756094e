import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { SentEvent, UserJournal } from '@collectivekv/test-chaos/load/user-journal';

/**
 * Writes everything that was sent so far as two interaction logs of different forms, oldest first.
 * @returns the files in order
 */
export async function exportLogs(dir: string, journals: readonly UserJournal[]): Promise<string[]> {
  const longest = Math.max(...journals.map(({ events }) => events.length));
  const events = Array.from({ length: longest }, (_, seq) =>
    journals.flatMap(({ events }) => events[seq] ?? []),
  ).flat();
  const half = Math.floor(events.length / 2);
  const files = [join(dir, 'older.csv'), join(dir, 'newer.jsonl.gz')];
  await writeFile(files[0] ?? '', csvOf(events.slice(0, half)));
  await writeFile(files[1] ?? '', gzipSync(jsonLinesOf(events.slice(half))));
  return files;
}

function csvOf(events: readonly SentEvent[]): string {
  const lines = events.map(({ input: { eventId, userId, itemId, timestampMs, action, features } }) =>
    [eventId, userId, itemId, timestampMs, action, features.watch_ratio].join(','),
  );
  return `${['event_id,user_id,item_id,timestamp_ms,action,watch_ratio', ...lines].join('\n')}\n`;
}

function jsonLinesOf(events: readonly SentEvent[]): string {
  const lines = events.map(({ input: { eventId, userId, itemId, timestampMs, action, features } }) =>
    JSON.stringify({
      event_id: eventId,
      user_id: userId,
      item_id: itemId,
      timestamp_ms: timestampMs,
      action,
      ...features,
    }),
  );
  return `${lines.join('\n')}\n`;
}
