import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleIdOf } from '@collectivekv/domain';
import { afterAll, expect, it } from 'vitest';

const dir = mkdtempSync(join(tmpdir(), 'ckv-replay-test-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const CKV = fileURLToPath(new URL('../bin/ckv.js', import.meta.url));
const BUNDLE = fileURLToPath(new URL('../../../test/fixtures/bundles/target', import.meta.url));

const base64 = (bytes: ArrayBufferView) =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');

/** Writes a capture of a user without a record, in the plain form of docs/checking-scores.md. */
function writeCapture(environment: object): string {
  const bundleId = bundleIdOf(readFileSync(join(BUNDLE, 'bundle.json')));
  const capture = {
    captureId: 'c',
    takenAtMs: 0,
    environment: {
      service: '',
      onnxruntime: '',
      processor: '',
      threadsPerWorker: 1,
      poolMode: 'replica',
      ...environment,
    },
    bundleId,
    encodingId: '',
    query: {
      userId: 'u',
      candidateIds: { text: base64(Buffer.from('i0001')), lengths: base64(Uint32Array.of(5)) },
      candidateFeatures: [{ name: 'freshness', values: base64(Float32Array.of(0)) }],
      contextFeatures: [{ name: 'hour', values: base64(Float32Array.of(0)) }],
      recentInteractions: [],
      historyPolicy: 'preferred',
    },
    partCount: 1,
    answer: { scores: base64(Float32Array.of(0.5)), positionCount: 0, rung: 'full' },
  };
  const content = Buffer.from(JSON.stringify(capture));
  const path = join(dir, `${createHash('sha256').update(content).digest('hex')}.capture`);
  const digest = createHash('sha256').update(content).digest();
  writeFileSync(path, Buffer.concat([Buffer.from('CKVCAPT\u0001\u0000'), digest, content]));
  return path;
}

function replay(...files: string[]) {
  const args = [CKV, '--json', 'replay', '--bundle', BUNDLE, '--verbose', ...files];
  const { stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  return JSON.parse(stdout);
}

it('names the provider and the precision, which captures of earlier versions do not have', () => {
  const computed = {
    provider: 'cpu',
    precision: 'float32',
    details: expect.arrayContaining(['computed by cpu, float32']),
  };
  const given = writeCapture({ provider: 'cpu', precision: 'float32' });
  expect(replay(given, writeCapture({ provider: 'cpu' }))).toMatchObject([computed, computed]);
});

it('computes captures of a GPU in one precision only', () => {
  const files = ['float32', 'tf32', 'float32'].map((precision) => writeCapture({ provider: 'cuda', precision }));
  const refused = {
    outcome: 'failed',
    text: expect.stringMatching(/^precision: is tf32, that of an earlier file is float32/),
  };
  expect(replay(...files)[1]).toMatchObject(refused);
  expect(replay(...files)[2]).not.toMatchObject(refused);
});
