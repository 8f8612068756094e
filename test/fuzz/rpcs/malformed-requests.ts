import { type MethodName, type ServiceName, services } from '@collectivekv/rpc';

/** A request that must be refused. */
export interface MalformedRequest {
  /** Describes the fault. */
  readonly what: string;
  /** The field that the refusal must name. */
  readonly field: string;
  readonly bytes: Buffer;
  /** Allowed reasons of the refusal; default invalid_request. */
  readonly reasons?: readonly string[];
}

interface FieldDescriptor {
  readonly name: string;
  readonly number: number;
  readonly type: string;
}

const REQUESTS = 100;

/** Well-formed messages with one fault each, written by hand. */
export type HandMade = readonly (readonly [
  what: string,
  field: string,
  request: object,
  reasons?: readonly string[],
])[];

/**
 * Returns at least 100 malformed requests for an RPC: the hand-made requests, then broken copies of the valid request.
 * A broken copy has a field with a wrong wire type, a length beyond the end of the message, or a cut in a field.
 */
export function malformedRequests<S extends ServiceName>(
  service: S,
  method: MethodName<S>,
  valid: object,
  handMade: HandMade,
): MalformedRequest[] {
  const spec = specOf(service, method);
  const encoded = spec.requestSerialize(valid);
  const made: MalformedRequest[] = handMade.map(([what, field, request, reasons]) => ({
    what,
    field,
    bytes: spec.requestSerialize(request),
    ...(reasons ? { reasons } : {}),
  }));
  for (let round = 0; made.length < REQUESTS; round++) {
    for (const field of spec.fields) made.push(...brokenField(field, encoded, round));
    made.push(...garbage(round));
  }
  return made;
}

/** Returns an RPC's definition, with the descriptors of its request's fields. */
export function specOf(service: ServiceName, method: string) {
  const definition = (services[service].service as unknown as Record<string, unknown>)[method] as {
    readonly path: string;
    readonly requestSerialize: (request: object) => Buffer;
    readonly requestType: { readonly type: { readonly field: FieldDescriptor[] } };
    readonly requestStream: boolean;
    readonly responseStream: boolean;
  };
  return { ...definition, fields: definition.requestType.type.field };
}

const LENGTH_DELIMITED = /^TYPE_(STRING|BYTES|MESSAGE)$/;

function brokenField({ name, number, type }: FieldDescriptor, encoded: Buffer, round: number): MalformedRequest[] {
  const broken = (what: string, ...tail: number[]): MalformedRequest => ({
    what: `${name}: ${what}, round ${round}`,
    field: name,
    bytes: Buffer.concat([encoded, Buffer.from(tail)]),
  });
  const delimited = LENGTH_DELIMITED.test(type);
  const made = [
    broken('as 64-bit', number * 8 + 1, ...Array(8).fill(round)),
    broken('as 32-bit', number * 8 + 5, ...Array(4).fill(round)),
    broken('as a group', number * 8 + 3),
    broken('as a reserved wire type', number * 8 + 6, round),
  ];
  if (delimited) {
    made.push(
      broken('as a varint', number * 8, round),
      broken('longer than the message', number * 8 + 2, 100 + round, 1),
      broken('far longer than the message', number * 8 + 2, 0xff, 0xff, 0xff, 0x7f),
      broken('without a length', number * 8 + 2),
    );
  } else {
    made.push(broken('as bytes', number * 8 + 2, 1, round), broken('without a value', number * 8));
  }
  return made;
}

/** Returns bytes that are not a message. */
function garbage(round: number): MalformedRequest[] {
  return [
    { what: `a lone tag, round ${round}`, field: 'request', bytes: Buffer.from([0xfa, 0x3e]) },
    { what: `an endless varint, round ${round}`, field: 'request', bytes: Buffer.alloc(12 + round, 0xff) },
    { what: `an end-group tag, round ${round}`, field: 'request', bytes: Buffer.from([0xfc, 0x3e]) },
  ];
}
