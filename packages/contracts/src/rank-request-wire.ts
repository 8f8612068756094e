import { isAscii } from 'node:buffer';
import type { MethodDefinition } from '@grpc/proto-loader';
import type { RankRequest, RankRequest__Output } from './generated/messages.js';

/** The tags of user_id and candidate_ids in a RankRequest, both length-delimited. */
const USER_ID = 0x0a;
const CANDIDATE_ID = 0x12;

/**
 * Lets a method write and read the hundreds of candidate ids of a rank request as one string instead of one by one, a few
 * times faster: the same bytes. What is not ASCII or takes more than 127 bytes goes the usual way.
 */
export function withQuickIds<Response, Received>(
  method: MethodDefinition<RankRequest, Response, RankRequest__Output, Received>,
): void {
  const { requestSerialize, requestDeserialize } = method;

  method.requestSerialize = (request) => {
    const ids = request.candidateIds && packIds(request.candidateIds);
    if (!ids) return requestSerialize(request);
    const rest = requestSerialize({ ...request, candidateIds: [] });
    const at = endOfUserId(rest); // fields stand in the order of their numbers
    if (at === undefined) return requestSerialize(request);
    return Buffer.concat([rest.subarray(0, at), ids, rest.subarray(at)]);
  };

  method.requestDeserialize = (bytes) => {
    const from = endOfUserId(bytes);
    const { ids, end } = unpackIds(bytes, from ?? bytes.length);
    if (from === undefined || ids.length === 0) return requestDeserialize(bytes);
    const rest = requestDeserialize(Buffer.concat([bytes.subarray(0, from), bytes.subarray(end)]));
    return { ...rest, candidateIds: rest.candidateIds.length > 0 ? [...ids, ...rest.candidateIds] : ids };
  };
}

/** The ids as their entries' bytes; undefined where one has no short way. */
function packIds(ids: readonly string[]): Buffer | undefined {
  let size = 0;
  for (const id of ids) {
    if (typeof id !== 'string' || id.length > 0x7f) return undefined;
    size += 2 + id.length;
  }
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const id of ids) {
    bytes[at++] = CANDIDATE_ID;
    bytes[at++] = id.length;
    for (let i = 0; i < id.length; i++) {
      const code = id.charCodeAt(i);
      if (code > 0x7f) return undefined;
      bytes[at++] = code;
    }
  }
  return bytes;
}

/** The ids of the entries at `from`, and where they end. */
function unpackIds(bytes: Buffer, from: number): { ids: string[]; end: number } {
  const ends: number[] = [];
  let end = from;
  while (bytes[end] === CANDIDATE_ID) {
    const length = bytes[end + 1] ?? 0x80;
    if (length >= 0x80 || end + 2 + length > bytes.length) break;
    end += 2 + length;
    ends.push(end);
  }
  const entries = bytes.subarray(from, end);
  if (!isAscii(entries)) return { ids: [], end: from };
  const text = entries.toString('latin1');
  let at = 0;
  const ids = ends.map((next) => {
    const id = text.substring(at + 2, next - from);
    at = next - from;
    return id;
  });
  return { ids, end };
}

/** Where the user_id at the beginning ends, 0 without one; undefined for one of more than 127 bytes. */
function endOfUserId(bytes: Uint8Array): number | undefined {
  if (bytes[0] !== USER_ID) return 0;
  const length = bytes[1] ?? 0x80;
  return length < 0x80 ? 2 + length : undefined;
}
