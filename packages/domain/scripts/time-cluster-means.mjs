// Prints how long cluster means take, by SIMD code and by plain loops: a factored pool of 65,536 items and 256 events
// of width 64, 256 clusters of items. Run it after a build: node packages/domain/scripts/time-cluster-means.mjs
import { factoredManifest, factoredModel } from '../dist/bundle/factored.fixture.js';
import { clusterMeans, createPoolTables } from '../dist/index.js';

const [ITEMS, EVENTS, CLUSTERS, WIDTH, RUNS] = [65_536, 256, 256, 64, 100];
const sizes = { items: ITEMS, itemType: 'uint16', events: EVENTS, clusters: CLUSTERS, eventClusters: 1, width: WIDTH };
const manifest = { ...factoredManifest(sizes), maxPositions: 100_000 };
const clusterOf = { item: Array.from({ length: ITEMS }, () => Math.floor(Math.random() * CLUSTERS)) };
const model = factoredModel(manifest, clusterOf);
const tables = createPoolTables(model);
for (const part of tables.parts) tables.table(part).set(tables.table(part).map(() => Math.random() - 0.5));
const table = (part) => ({ rows: tables.table(part) });

for (const positions of [1_000, 10_000, 100_000]) {
  const rows = rowsOf(positions);
  const median = (simd) => medianMs(() => clusterMeans(model, rows, model.clustering('history'), { table, simd }));
  console.log(`${positions} positions: SIMD ${median(tables.simd)} ms, plain loops ${median(undefined)} ms`);
}

/** Returns rows of random items and events, the first of each more often than the last. */
function rowsOf(positions) {
  const { strideBytes } = model.layout;
  const rows = Buffer.alloc(positions * strideBytes);
  for (let i = 0; i < positions; i++) {
    rows.writeUInt16LE(Math.floor(ITEMS * Math.random() ** 3), i * strideBytes);
    rows.writeUInt8(Math.floor(EVENTS * Math.random() ** 3), i * strideBytes + 2);
  }
  return rows;
}

function medianMs(work) {
  for (let run = 0; run < 20; run++) work();
  const times = Array.from({ length: RUNS }, () => {
    const startMs = performance.now();
    work();
    return performance.now() - startMs;
  });
  return times.sort((a, b) => a - b)[RUNS / 2].toFixed(2);
}
