import { isUtf8 } from 'node:buffer';
import { type CkvError, invalidRequest } from '@collectivekv/domain';

/** Descriptor of a message type. */
export interface MessageDescriptor {
  readonly field: readonly FieldDescriptor[];
  /** The types that this type declares inside itself: the entries of its maps. */
  readonly nestedType?: readonly (MessageDescriptor & { readonly name: string })[];
}

interface FieldDescriptor {
  readonly name: string;
  readonly number: number;
  readonly type: string;
  readonly typeName?: string;
}

/** The fields of a message type by number. */
export type WireFields = ReadonlyMap<number, WireField>;

/** A field of a message type. */
interface WireField {
  readonly name: string;
  /** The wire type that the field must have. */
  readonly wire: number;
  /** True if the field holds text, which must be UTF-8. */
  readonly isText: boolean;
  /** True if protobufjs reads the value as 32 bits. It then skips 10 bytes for a varint of 6 bytes or more. */
  readonly isNarrow: boolean;
  /** True if protobufjs cuts a value to its lower 32 bits. */
  readonly isUint32: boolean;
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
const NARROW = /^TYPE_(U?INT32|SINT32|BOOL|ENUM)$/;
const FIXED64 = /^TYPE_(DOUBLE|S?FIXED64)$/;
const FIXED32 = /^TYPE_(FLOAT|S?FIXED32)$/;

/** Longest varint of a 32-bit number, bytes. A negative int32 has 10. */
const NARROW_BYTES = 5;
/** Longest varint, bytes. */
const VARINT_BYTES = 10;
const MAX_UINT32 = 2 ** 32 - 1;

/**
 * Checks the bytes of a message, and of the messages in it, before protobufjs reads them. Finds the first field that
 * protobufjs would read as another value, without an error: its wire type is not the declared one, or its text is not
 * UTF-8. Refuses varints that protobufjs and other readers take for different lengths. Also refuses more than 500,000
 * messages in one, and more than 2,000,000 entries of other fields.
 * @param counts receives the counts
 * @returns an invalid_request that names the field, or undefined if the message may be read
 */
export function wireProblem(
  bytes: Uint8Array,
  fields: WireFields,
  counts: Counts = { messages: 0, entries: 0 },
): CkvError | undefined {
  return problemWithin(bytes, fields, counts);
}

/** Counts over the part of a request that was checked so far. */
export interface Counts {
  messages: number;
  entries: number;
}

function problemWithin(bytes: Uint8Array, fields: WireFields, counts: Counts): CkvError | undefined {
  let at = 0;
  while (at < bytes.length) {
    const from = at;
    const tag = readVarint(bytes, at);
    if (!tag || tag.value > MAX_UINT32 || tag.next - at > NARROW_BYTES) return broken(at);
    const field = fields.get(Math.floor(tag.value / 8));
    const wire = tag.value % 8;
    if (field && field.wire !== wire) {
      return invalidRequest(
        field.name,
        `has wire type ${WIRE_NAMES[wire] ?? wire}, ${WIRE_NAMES[field.wire]} is expected`,
        'encode it by the .proto file',
      );
    }
    const head = wire === 0 || wire === 2 ? readVarint(bytes, tag.next) : undefined;
    const end = endOf(wire, tag.next, head);
    if (end === undefined || end > bytes.length) return field ? truncated(field.name) : broken(at);
    const headBytes = head ? head.next - tag.next : 0;
    if (headBytes > NARROW_BYTES && (wire === 2 || (field?.isNarrow && headBytes < VARINT_BYTES))) {
      return broken(tag.next);
    }
    if (field?.isUint32 && head && wire === 0 && head.value > MAX_UINT32) {
      return invalidRequest(field.name, `is ${head.value}, at most ${MAX_UINT32} is allowed`, 'send a smaller number');
    }
    if (!field?.nests) {
      at = skipAlike(bytes, from, end, counts);
      // One look at the whole run: tags and lengths of one byte are ASCII, so no character reaches over them.
      if (field?.isText && !isUtf8(bytes.subarray(head?.next, at))) return notUtf8(field.name);
      if (++counts.entries > MAX_ENTRIES) return tooMany(field?.name ?? 'request', `${MAX_ENTRIES} entries`);
      continue;
    }
    if (++counts.messages > MAX_MESSAGES) return tooMany(field.name, `${MAX_MESSAGES} messages`);
    const content = bytes.subarray(head?.next, end);
    const problem = field.nested && problemWithin(content, field.nested, counts);
    if (problem) return problem;
    at = end;
  }
  return undefined;
}

/**
 * Returns the fields of a message type, with the fields of the types that it holds.
 * @param typeNamed finds a message type by the `typeName` of a field
 * @param owner name of the map whose entries have the type, with a dot
 */
export function fieldsOf(
  { field, nestedType = [] }: MessageDescriptor,
  typeNamed: (typeName: string) => MessageDescriptor | undefined,
  owner = '',
): WireFields {
  const entries = field.map((descriptor) => {
    const { number, type, typeName = '' } = descriptor;
    const name = owner + descriptor.name;
    const nests = type === 'TYPE_MESSAGE';
    const entry = nestedType.find((own) => own.name === typeName);
    const held = entry ?? (nests ? typeNamed(typeName) : undefined);
    const nested = held && fieldsOf(held, typeNamed, entry ? `${name}.` : '');
    const isText = type === 'TYPE_STRING';
    return [
      number,
      {
        name,
        wire: wireOf(type),
        isText,
        isNarrow: NARROW.test(type),
        isUint32: type === 'TYPE_UINT32',
        nests,
        nested,
      },
    ] as const;
  });
  return new Map(entries);
}

/** Numbers in packed form have another wire type. No request has any: lists of numbers travel as bytes. */
function wireOf(type: string): number {
  return VARINT.test(type) ? 0 : FIXED64.test(type) ? 1 : FIXED32.test(type) ? 5 : 2;
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

interface Varint {
  readonly value: number;
  /** Where the next byte is. */
  readonly next: number;
}

function readVarint(bytes: Uint8Array, from: number): Varint | undefined {
  let value = 0;
  for (let i = 0; i < VARINT_BYTES; i++) {
    const byte = bytes[from + i];
    if (byte === undefined) return undefined;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return { value, next: from + i + 1 };
  }
  return undefined;
}

/** Returns the end of a value that begins at `from`. `head` is its varint: the value itself, or its length. */
function endOf(wire: number, from: number, head: Varint | undefined): number | undefined {
  if (wire === 1) return from + 8;
  if (wire === 5) return from + 4;
  if (wire === 0) return head?.next;
  if (wire === 2) return head && head.next + head.value;
  return undefined;
}

function notUtf8(name: string): CkvError {
  return invalidRequest(name, 'is not valid UTF-8', 'send text as UTF-8');
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
