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
 * Takes the subject out of a job's data. Anybody may have written them. If the data have a list of interactions, those
 * of other users stay. Other data that mention the subject in an unknown place, or cannot be read, are removed as a
 * whole: nobody can apply them.
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
  if (Array.isArray(parsed.interactions)) return stripList({ ...parsed, interactions: parsed.interactions }, subject);
  const { version: _, interactions, interaction, unreadable, userId, receiptId, ...others } = parsed;
  if (subject.eventId === undefined && isText(userId) && String(userId) === subject.userId) {
    return typeof receiptId === 'string'
      ? { left: 'nothing', erasure: { userId: String(userId), receiptId } }
      : NOTHING;
  }
  if (interaction !== undefined && concerns(interaction, subject)) return removalOf(interaction, receiptId);
  return unreadableMentions(unreadable, text) || mentions({ ...others, interactions }, text) ? NOTHING : ALL;
}

/** Takes the subject's interactions out of a list, and the fields beside the list that mention the subject. */
function stripList(parsed: { readonly interactions: readonly unknown[] }, subject: ErasureSubject): StrippedJob {
  const text = subject.eventId ?? subject.userId;
  const kept = parsed.interactions.filter((one) => !concerns(one, subject));
  const fields = Object.entries(parsed).filter(
    ([name, value]) =>
      name === 'version' ||
      name === 'interactions' ||
      !(mentions({ [name]: value }, text) || (name === 'unreadable' && unreadableMentions(value, text))),
  );
  if (kept.length === parsed.interactions.length && fields.length === Object.keys(parsed).length) return ALL;
  if (kept.length === 0) return NOTHING;
  return { left: 'part', jobData: JSON.stringify({ ...Object.fromEntries(fields), interactions: kept }) };
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

/**
 * True if a text has the other inside, not as a part of a longer word. Its characters may be escaped as JSON allows. A
 * number counts only in quotes or behind a name that ends with "id": texts have many other numbers.
 */
function textMentions(whole: string, text: string): boolean {
  const form = Array.from(text, anyForm).join('');
  const before = /^\d+$/.test(text) ? '(?:["\']|[iI][dD]["\']?\\s*[:=]\\s*)' : '(?<![\\p{L}\\p{N}])';
  return new RegExp(`${before}${form}(?![\\p{L}\\p{N}])`, 'u').test(whole);
}

/** Returns a pattern of all forms that a character has in JSON. */
function anyForm(character: string): string {
  const units = Array.from({ length: character.length }, (_, i) =>
    character.charCodeAt(i).toString(16).padStart(4, '0'),
  );
  const escaped = units.map((hex) => `\\\\u${hex.replace(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`)}`);
  const plain = [character, JSON.stringify(character).slice(1, -1), ...(character === '/' ? ['\\/'] : [])];
  return `(?:${[...plain.map(literal), escaped.join('')].join('|')})`;
}

function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}

function isText(value: unknown): value is string | number {
  return typeof value === 'string' || typeof value === 'number';
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
