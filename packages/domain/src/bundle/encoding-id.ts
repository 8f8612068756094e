import { createHash } from 'node:crypto';
import type { Manifest } from './manifest-schema.js';

/** Version of the canonical form. Change it if the same manifest begins to give other rows. */
const VERSION = 1;

/**
 * Returns a bundle's encoding id: the first 16 hexadecimal characters of the sha256 of the canonical form of what
 * decides the bytes of a row. Bundles with one encoding id give the same rows for the same interactions.
 * The parts and the reasons are in docs/adr/0017-encoding-id.md. training/bundle/encoding_id.py does the same.
 */
export function encodingIdOf(manifest: Manifest): string {
  return createHash('sha256')
    .update(canonicalJson(encodingOf(manifest)))
    .digest('hex')
    .slice(0, 16);
}

/** Returns the parts of a manifest that decide the bytes of a row, and how many rows a record keeps. */
function encodingOf({ schemaVersion, maxPositions, items, actions, features, record, graphs, files }: Manifest) {
  const { file, inputs, outputs } = graphs.encode;
  const folder = file.slice(0, file.lastIndexOf('/') + 1); // with its final slash; empty for the bundle's own folder
  const inFolder = files.filter(({ path }) => path.startsWith(folder));
  return {
    version: VERSION,
    schemaVersion,
    maxPositions,
    items: files.find(({ path }) => path === items.file)?.sha256,
    actions,
    features: features.interaction,
    fields: record.fields,
    generation: record.generation, // left out if absent
    // A graph can read any file of its folder, and no other: onnxruntime refuses paths that leave it.
    graph: { file: file.slice(folder.length), inputs, outputs },
    files: Object.fromEntries(inFolder.map(({ path, sha256 }) => [path.slice(folder.length), sha256])),
  };
}

/**
 * Returns JSON in ASCII, without spaces, with sorted keys. A number is the string of its 16 hexadecimal digits as a
 * big-endian float64, because languages write decimals differently.
 */
function canonicalJson(value: unknown): string {
  if (typeof value === 'number') return `"${float64Hex(value)}"`;
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).filter(([, member]) => member !== undefined);
    members.sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([key, member]) => `${canonicalJson(key)}:${canonicalJson(member)}`).join(',')}}`;
  }
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, unicodeEscape);
}

function float64Hex(value: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value + 0); // -0 becomes 0
  return bytes.toString('hex');
}

function unicodeEscape(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
