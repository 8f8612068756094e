/** What to erase: everything of a user, or one event of a user. */
export interface ErasureSubject {
  readonly userId: string;
  /** Undefined erases everything of the user. */
  readonly eventId?: string;
}

/** An erasure that somebody asked for. */
export interface Erasure extends ErasureSubject {
  /** A random UUID, chosen by the sender. */
  readonly receiptId: string;
}

/** What is left of a job's data. */
export type StrippedJob =
  | { readonly left: 'all' }
  | { readonly left: 'part'; readonly jobData: string }
  /** `erasure`: the removed job was itself an erasure, which has no more to do. */
  | { readonly left: 'nothing'; readonly erasure?: Erasure };

const ALL: StrippedJob = { left: 'all' };
const NOTHING: StrippedJob = { left: 'nothing' };

/**
 * Takes the subject out of a job's data. Anybody may have written them. The other users' interactions stay. A job that
 * cannot be read, or that mentions the subject in an unknown place, is removed as a whole: nobody can apply it.
 */
export function stripJob(jobData: string, subject: ErasureSubject): StrippedJob {
  const text = subject.eventId ?? subject.userId;
  let parsed: unknown;
  try {
    parsed = JSON.parse(jobData);
  } catch {
    return textMentions(jobData, text) ? NOTHING : ALL;
  }
  if (!isObject(parsed)) return mentions(parsed, text) ? NOTHING : ALL;
  const { version: _, interactions, interaction, unreadable, userId, receiptId, ...others } = parsed;
  if (subject.eventId === undefined && isText(userId) && String(userId) === subject.userId) {
    return typeof receiptId === 'string'
      ? { left: 'nothing', erasure: { userId: String(userId), receiptId } }
      : NOTHING;
  }
  if (interaction !== undefined && concerns(interaction, subject)) return removalOf(interaction, receiptId);
  if (unreadableMentions(unreadable, text) || mentions(others, text)) return NOTHING;
  if (!Array.isArray(interactions)) return mentions(interactions, text) ? NOTHING : ALL;
  const kept = interactions.filter((one) => !concerns(one, subject));
  if (kept.length === interactions.length) return ALL;
  if (kept.length === 0) return NOTHING;
  return { left: 'part', jobData: JSON.stringify({ ...parsed, interactions: kept }) };
}

/** Returns what is left of a job that removes this interaction. */
function removalOf(interaction: unknown, receiptId: unknown): StrippedJob {
  if (typeof receiptId !== 'string' || !isObject(interaction)) return NOTHING;
  const [userId, eventId] = [String(interaction.userId), String(interaction.eventId)];
  return { left: 'nothing', erasure: { userId, eventId, receiptId } };
}

/** True if an interaction is the subject's. Without a user, it is the subject's if it mentions the subject anywhere. */
function concerns(interaction: unknown, { userId, eventId }: ErasureSubject): boolean {
  if (!isObject(interaction) || !isText(interaction.userId)) return mentions(interaction, eventId ?? userId);
  if (String(interaction.userId) !== userId) return false;
  return eventId === undefined || !isText(interaction.eventId) || String(interaction.eventId) === eventId;
}

/** True if a value is the text, as a string or as a number, or has it inside. */
function mentions(value: unknown, text: string): boolean {
  if (isText(value)) return String(value) === text;
  if (Array.isArray(value)) return value.some((one) => mentions(one, text));
  return isObject(value) && Object.entries(value).some(([name, one]) => name === text || mentions(one, text));
}

function unreadableMentions(fields: unknown, text: string): boolean {
  return isObject(fields) && Object.values(fields).some((field) => textMentions(String(field), text));
}

/** True if a text has the other inside, not as a part of a longer word. */
function textMentions(whole: string, text: string): boolean {
  const escaped = [text, JSON.stringify(text).slice(1, -1)].map((one) => one.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  return new RegExp(`(?<![\\p{L}\\p{N}])(?:${escaped.join('|')})(?![\\p{L}\\p{N}])`, 'u').test(whole);
}

function isText(value: unknown): value is string | number {
  return typeof value === 'string' || typeof value === 'number';
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
