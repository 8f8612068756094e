import { createHash } from 'node:crypto';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CkvError, integers, type Manifest, type PoolPart, type Tensors } from '@collectivekv/domain';
import { createEngine, type Engine } from '@collectivekv/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TARGET } from './bundle-pieces.fixture.js';
import { type LoadOptions, loadBundle } from './load-bundle.js';
import { openBundle } from './open-bundle.js';
import { readPoolTables } from './read-pool-tables.js';

const RANK: LoadOptions = { graphs: ['rank'], verifyGolden: true, poolTables: true };

let dir: string;
let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
  dir = await mkdtemp(join(tmpdir(), 'ckv-tables-'));
});
afterAll(async () => {
  await engine.close();
  await rm(dir, { recursive: true, force: true });
});

/** Copies the bundle with a clustering of the codes by the route, and with other changes. */
async function clusteredTarget(name: string, change: (manifest: Manifest) => void = () => undefined): Promise<string> {
  const copy = join(dir, name);
  await cp(TARGET, copy, { recursive: true });
  const map = Buffer.from(Array.from({ length: 256 }, (_, slot) => slot % 7));
  await writeFile(join(copy, 'clusters.bin'), map);
  const manifest: Manifest = JSON.parse(await readFile(join(copy, 'bundle.json'), 'utf8'));
  manifest.files.push({ path: 'clusters.bin', bytes: 256, sha256: createHash('sha256').update(map).digest('hex') });
  const part = (part: 'key' | 'value') => ({ field: 'user_code', rows: { group: 'user', part } });
  manifest.clusterings = [
    {
      name: 'codes',
      width: 2,
      by: [{ field: 'route', clusters: 7, map: 'clusters.bin' }],
      terms: [{ ...part('key'), scale: part('value') }, part('key')],
    },
  ];
  delete manifest.graphs.rankBatch; // it would need the new input, too
  manifest.graphs.rank.inputs.push({
    name: 'means',
    role: 'cluster_means',
    clustering: 'codes',
    type: 'float32',
    shape: [],
  });
  change(manifest);
  await writeFile(join(copy, 'bundle.json'), JSON.stringify(manifest));
  return copy;
}

/** What the gather graph gives for all 256 codes at once. */
async function gatheredCodes(bundleDir: string): Promise<Tensors> {
  const bundle = await loadBundle(bundleDir, engine, { graphs: ['gather'], verifyGolden: false });
  const [codes, none] = [Int32Array.from({ length: 256 }, (_, i) => i), new Int32Array(0)];
  const feeds = bundle.model.manifest.graphs.gather.inputs.map(({ name }) => {
    const slots = name.startsWith('user') ? codes : none;
    return [name, integers('int64', slots, [slots.length])] as const;
  });
  const rows = await bundle.graphs.run('gather', Object.fromEntries(feeds));
  await bundle.close();
  return rows;
}

describe('the pool tables of a loaded bundle', () => {
  it('have every row of the parts that clusterings of the rank graph add up, each part once', async () => {
    const copy = await clusteredTarget('whole');
    const { poolTables, close } = await loadBundle(copy, engine, RANK);
    const wanted = await gatheredCodes(copy);
    const parts = (['key', 'value'] as const).map((part): PoolPart => ({ group: 'user', part }));
    expect(poolTables?.parts).toEqual(parts);
    const [keys, values] = parts.map((part) => poolTables?.table(part));
    expect([keys, values]).toEqual([wanted.user_key_rows?.data, wanted.user_value_rows?.data]);
    expect(keys?.some((value) => value !== 0)).toBe(true);
    await close();
  });

  it('are absent if nobody asks for them, or if no input of the rank graph has a clustering', async () => {
    const plain = await loadBundle(await clusteredTarget('plain'), engine, { ...RANK, poolTables: false });
    const unused = await loadBundle(
      await clusteredTarget('unused', ({ graphs }) => graphs.rank.inputs.pop()),
      engine,
      RANK,
    );
    expect([plain.poolTables, unused.poolTables]).toEqual([undefined, undefined]);
    await plain.close();
    await unused.close();
  });

  it('come from a gather graph that reproduces its golden vectors', async () => {
    const copy = await clusteredTarget('changed', (manifest) => {
      const entry = manifest.files.find(({ path }) => path === 'pool.bin');
      Object.assign(entry ?? {}, { sha256: createHash('sha256').update(Buffer.alloc(69_632, 1)).digest('hex') });
    });
    await writeFile(join(copy, 'pool.bin'), Buffer.alloc(69_632, 1));
    await expect(loadBundle(copy, engine, RANK)).rejects.toMatchObject({
      reason: 'bundle_invalid',
      message: expect.stringMatching(/not reproduced.*gather/),
    });
  });
});

describe('reading pool tables', () => {
  it('asks for 16 MiB of rows at a time, every slot once and in order', async () => {
    const width = 65_536; // 64 slots of this width have 16 MiB
    const { model } = await openBundle(
      await clusteredTarget('wide', ({ clusterings, groups }) => {
        Object.assign(groups[1]?.pool ?? {}, { keyWidth: width, valueWidth: width });
        Object.assign(clusterings?.[0] ?? {}, { width });
      }),
    );
    const asked: [part: string, length: number, first: number][] = [];
    const gather = async (feeds: Tensors): Promise<Tensors> => {
      const found = Object.entries(feeds).filter(([, { data }]) => data.length > 0);
      const rows = found.map(([input, { data: slots }]) => {
        asked.push([input, slots.length, Number(slots[0])]);
        const data = new Float32Array(slots.length * width);
        for (const [i, slot] of slots.entries()) data.fill(Number(slot), i * width, (i + 1) * width);
        return [input.replace('slots', 'rows'), { type: 'float32', data, shape: [slots.length, width] }] as const;
      });
      return Object.fromEntries(rows);
    };
    const tables = await readPoolTables(model, gather);
    expect(asked).toEqual(
      ['user_key_slots', 'user_value_slots'].flatMap((input) => [0, 64, 128, 192].map((from) => [input, 64, from])),
    );
    const table = tables?.table({ group: 'user', part: 'value' });
    expect(table?.length).toBe(256 * width);
    for (let slot = 0; slot < 256; slot++) expect(table?.[(slot + 1) * width - 1]).toBe(slot);
  });

  it('asks for 65,536 slots at a time if rows are narrow', async () => {
    const { model } = await openBundle(await clusteredTarget('narrow'));
    const slots = 2 * 65_536 + 3;
    const [, group] = model.manifest.groups;
    Object.assign(group?.pool ?? {}, { slots });
    const asked: number[] = [];
    const gather = async (feeds: Tensors): Promise<Tensors> => {
      const found = Object.entries(feeds).filter(([, { data }]) => data.length > 0);
      const rows = found.map(([input, { data }]) => {
        asked.push(data.length);
        const rows = Float32Array.from({ length: 2 * data.length }, (_, i) => Number(data[i >> 1]));
        return [input.replace('slots', 'rows'), { type: 'float32', data: rows, shape: [data.length, 2] }] as const;
      });
      return Object.fromEntries(rows);
    };
    const table = (await readPoolTables(model, gather))?.table({ group: 'user', part: 'key' });
    expect(asked).toEqual([65_536, 65_536, 3, 65_536, 65_536, 3]);
    expect(table?.findIndex((value, i) => value !== i >> 1)).toBe(-1);
    expect(table?.length).toBe(2 * slots);
  });

  it.each([
    ['too few rows', { type: 'float32', data: new Float32Array(2), shape: [1, 2] }, '2 numbers of type float32'],
    [
      'rows of another type',
      { type: 'float16', data: new Uint16Array(512), shape: [256, 2] },
      '512 numbers of type float16',
    ],
    ['no rows', undefined, '0 numbers of type none'],
  ] as const)('refuses a gather graph that gives %s', async (title, rows, found) => {
    const { model } = await openBundle(await clusteredTarget(title.replaceAll(' ', '-')));
    const gather = async (): Promise<Tensors> => (rows ? { user_key_rows: rows } : {});
    const problem = `${found} for 256 slots of width 2, float32 rows are required; export the bundle again`;
    await expect(readPoolTables(model, gather)).rejects.toThrow(
      new CkvError('bundle_invalid', `graphs.gather.outputs.user_key_rows: ${problem}`),
    );
  });
});
