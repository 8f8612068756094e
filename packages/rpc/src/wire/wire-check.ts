import { type CkvError, invalidRequest } from '@collectivekv/domain';

/** Descriptor of a message type. */
export interface MessageDescriptor {
  readonly field: readonly FieldDescriptor[];
}

interface FieldDescriptor {
  readonly name: string;
  readonly number: number;
  readonly type: string;
  readonly label: string;
  readonly typeName?: string;
}

/** The fields of a message type by number. */
export type WireFields = ReadonlyMap<number, WireField>;

/** A field of a message type. */
interface WireField {
  readonly name: string;
  /** Wire types that the field may have, the usual one first. */
  readonly wires: readonly number[];
  /** True if the field holds messages. */
  readonly nests: boolean;
  /** The fields of these messages, if their type is known. */
  readonly nested: WireFields | undefined;
}

/** Most messages inside a request, over all depths. Each becomes an object of many times its bytes. */
const MAX_MESSAGES = 500_000;
/** Most entries of other fields, over all depths. A RankMany of 64 requests, each at all its bounds, has fewer. */
const MAX_ENTRIES = 2_000_000;

const WIRE_NAMES = ['varint', '64-bit', 'length-delimited', 'group', 'group', '32-bit'];
const VARINT = /^TYPE_(U?INT(32|64)|SINT(32|64)|BOOL|ENUM)$/;
const FIXED64 = /^TYPE_(DOUBLE|S?FIXED64)$/;
const FIXED32 = /^TYPE_(FLOAT|S?FIXED32)$/;

/**
 * Checks the bytes of a message, and of the messages in it, before protobufjs reads them. Finds the first field whose
 * wire type is not the declared one: protobufjs would read such bytes as another value, without an error. Also refuses
 * more than 500,000 messages in one, and more than 2,000,000 entries of other fields.
 * @returns an invalid_request that names the field, or undefined if the message may be read
 */
export function wireProblem(bytes: Uint8Array, fields: WireFields): CkvError | undefined {
  return problemWithin(bytes, fields, { messages: 0, entries: 0 });
}

/** Counts over the part of a request that was checked so far. */
interface Counts {
  messages: number;
  entries: number;
}

function problemWithin(bytes: Uint8Array, fields: WireFields, counts: Counts): CkvError | undefined {
  let at = 0;
  while (at < bytes.length) {
    const from = at;
    const tag = readVarint(bytes, at);
    if (!tag) return broken(at);
    const field = fields.get(Math.floor(tag.value / 8));
    const wire = tag.value % 8;
    if (field && !field.wires.includes(wire)) {
      return invalidRequest(
        field.name,
        `has wire type ${WIRE_NAMES[wire] ?? wire}, ${WIRE_NAMES[field.wires[0] ?? 0]} is expected`,
        'encode it by the .proto file',
      );
    }
    const end = skip(bytes, tag.next, wire);
    if (end === undefined || end > bytes.length) return field ? truncated(field.name) : broken(at);
    if (!field?.nests) {
      at = skipAlike(bytes, from, end, counts);
      if (++counts.entries > MAX_ENTRIES) return tooMany(field?.name ?? 'request', `${MAX_ENTRIES} entries`);
      continue;
    }
    if (++counts.messages > MAX_MESSAGES) return tooMany(field.name, `${MAX_MESSAGES} messages`);
    const content = bytes.subarray(readVarint(bytes, tag.next)?.next, end);
    const problem = field.nested && problemWithin(content, field.nested, counts);
    if (problem) return problem;
    at = end;
  }
  return undefined;
}

/**
 * Returns the fields of a message type, with the fields of the types that it holds.
 * @param typeNamed finds a message type by the `typeName` of a field
 */
export function fieldsOf(
  { field }: MessageDescriptor,
  typeNamed: (typeName: string) => MessageDescriptor | undefined,
): WireFields {
  const entries = field.map((descriptor) => {
    const { name, number, type, typeName = '' } = descriptor;
    const nests = type === 'TYPE_MESSAGE';
    const nestedType = nests ? typeNamed(typeName) : undefined;
    const nested = nestedType && fieldsOf(nestedType, typeNamed);
    return [number, { name, wires: wiresOf(descriptor), nests, nested }] as const;
  });
  return new Map(entries);
}

function wiresOf({ type, label }: FieldDescriptor): number[] {
  const own = VARINT.test(type) ? 0 : FIXED64.test(type) ? 1 : FIXED32.test(type) ? 5 : 2;
  return label === 'LABEL_REPEATED' && own !== 2 ? [own, 2] : [own];
}

/**
 * Returns the end of a run of entries like the one from `from` to `end`, and counts them. Such entries are strings or
 * bytes of one repeated field, with a tag and a length of one byte each. A rank request may have hundreds of them, so
 * this loop is quick.
 */
function skipAlike(bytes: Uint8Array, from: number, end: number, counts: Counts): number {
  const tag = bytes[from] as number;
  if (tag >= 0x80 || tag % 8 !== 2) return end;
  let at = end;
  while (bytes[at] === tag) {
    const length = bytes[at + 1] ?? 0x80;
    if (length >= 0x80 || at + 2 + length > bytes.length) break;
    at += 2 + length;
    counts.entries++;
  }
  return at;
}

function readVarint(bytes: Uint8Array, from: number): { value: number; next: number } | undefined {
  let value = 0;
  for (let i = 0; i < 10; i++) {
    const byte = bytes[from + i];
    if (byte === undefined) return undefined;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return { value, next: from + i + 1 };
  }
  return undefined;
}

function skip(bytes: Uint8Array, from: number, wire: number): number | undefined {
  if (wire === 1) return from + 8;
  if (wire === 5) return from + 4;
  const varint = readVarint(bytes, from);
  if (wire === 0) return varint?.next;
  if (wire === 2) return varint && varint.next + varint.value;
  return undefined;
}

function truncated(name: string): CkvError {
  return invalidRequest(name, 'ends before its length', 'encode it by the .proto file');
}

function tooMany(name: string, limit: string): CkvError {
  return invalidRequest(name, `is one of more than ${limit} in the request`, 'split the call');
}

function broken(at: number): CkvError {
  return invalidRequest('request', `is not a protobuf message at byte ${at}`, 'encode it by the .proto file');
}
