/** A field of an encoded protobuf message. Exactly one of `varint`, `bytes` and `nested` is set. */
export interface MessageField {
  readonly number: number;
  readonly wire: number;
  readonly varint?: bigint;
  readonly bytes?: Uint8Array;
  /** The fields of a message inside, if the bytes can be read as one. */
  readonly nested?: readonly MessageField[];
  /** Length that is written instead of the true one. */
  readonly claimedLength?: number;
}

/** Messages are read to this depth. ONNX graphs nest deeper than requests. */
const MAX_DEPTH = 12;

/** Reads the fields of a message without its schema. Throws a RangeError for bytes that are no message. */
export function readMessage(bytes: Uint8Array, depth = 0): MessageField[] {
  const fields: MessageField[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError('a varint does not end');
  };
  const take = (length: number): Uint8Array => {
    if (length > bytes.length - at) throw new RangeError('a field is longer than the message');
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const [number, wire] = [Math.floor(tag / 8), tag % 8];
    if (number === 0) throw new RangeError('a field has the number 0');
    if (wire === 0) fields.push({ number, wire, varint: varint() });
    else if (wire === 1) fields.push({ number, wire, bytes: take(8) });
    else if (wire === 5) fields.push({ number, wire, bytes: take(4) });
    else if (wire === 2) fields.push({ number, wire, ...contentOf(take(Number(varint())), depth) });
    else throw new RangeError(`wire type ${wire}`);
  }
  return fields;
}

function contentOf(bytes: Uint8Array, depth: number): Pick<MessageField, 'bytes' | 'nested'> {
  if (bytes.length < 2 || depth === MAX_DEPTH) return { bytes };
  try {
    return { nested: readMessage(bytes, depth + 1) };
  } catch {
    return { bytes };
  }
}

/** Writes fields as a message, right or wrong as they are. */
export function writeMessage(fields: readonly MessageField[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const { number, wire, varint = 0n, bytes, nested, claimedLength } of fields) {
    parts.push(varintOf(BigInt(number) * 8n + BigInt(wire)));
    const content = nested ? writeMessage(nested) : bytes;
    if (content === undefined) parts.push(varintOf(varint));
    else if (wire === 2) parts.push(varintOf(BigInt(claimedLength ?? content.length)), content);
    else parts.push(content);
  }
  return Buffer.concat(parts);
}

function varintOf(value: bigint): Buffer {
  const bytes: number[] = [];
  let left = BigInt.asUintN(64, value);
  while (left > 0x7fn) {
    bytes.push(Number(left & 0x7fn) | 0x80);
    left >>= 7n;
  }
  return Buffer.from([...bytes, Number(left)]);
}
