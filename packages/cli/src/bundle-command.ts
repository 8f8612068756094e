import { loadBundle } from '@collectivekv/bundles';
import { GRAPH_NAMES, type Manifest, parseManifest } from '@collectivekv/domain';
import { createEngine } from '@collectivekv/engine';
import { Command } from 'commander';
import type { Connections } from './connections.js';
import { pairs, table } from './print.js';

/** `ckv bundle`. */
export function bundleCommand(connections: Connections): Command {
  const bundle = new Command('bundle').description('the bundles that the pool serves');
  const describe = (bundleId: string) => connections.pool().call('Describe', { bundleId }, deadline());

  bundle
    .command('list', { isDefault: true })
    .description('list the active bundle and those kept for a rollback')
    .action(async () => {
      const ids: string[] = [];
      for await (const announced of connections.pool().stream('WatchBundles', {}, deadline())) {
        ids.push(...announced.bundleIds);
        break;
      }
      const describeAll = ids.map(async (id) => {
        const { active, manifest } = await describe(id);
        const { name, family, maxPositions, training } = parseManifest(manifest);
        return { id, active, name, family, maxPositions, metrics: training.metrics };
      });
      const bundles = await Promise.all(describeAll);
      connections.print(bundles, () =>
        table(
          ['id', 'name', 'family', 'positions', 'active'],
          bundles.map(({ id, name, family, maxPositions, active }) => [
            id,
            name,
            family,
            maxPositions,
            active ? 'yes' : '',
          ]),
        ),
      );
    });
  bundle
    .command('show')
    .description('show a bundle')
    .argument('[id]', 'default: the active one')
    .action(async (id: string | undefined) => {
      const { bundleId, manifest, active, provider } = await describe(id ?? '');
      const parsed = parseManifest(manifest);
      connections.print({ bundleId, active, provider, manifest: parsed }, () =>
        describeBundle(bundleId, active, parsed),
      );
    });
  bundle
    .command('activate')
    .description('make a loaded bundle the active one')
    .argument('<id>')
    .action(async (bundleId: string) => {
      const { previousBundleId } = await connections.pool().call('Activate', { bundleId }, deadline());
      connections.print({ previousBundleId }, () => `active: ${bundleId}; before: ${previousBundleId}`);
    });
  bundle
    .command('rollback')
    .description('make the bundle before active again')
    .action(async () => {
      const { activeBundleId } = await connections.pool().call('Rollback', {}, deadline());
      connections.print({ activeBundleId }, () => `active: ${activeBundleId}`);
    });
  bundle
    .command('verify')
    .description("check a bundle folder's files and run its golden vectors on this machine")
    .argument('<folder>')
    .action(async (folder: string) => {
      const engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
      try {
        const loaded = await loadBundle(folder, engine, { graphs: GRAPH_NAMES, verifyGolden: true });
        const { id, manifest } = loaded.model;
        await loaded.close();
        connections.print(
          { id, name: manifest.name, verified: true },
          () => `${id} (${manifest.name}) is whole, and its golden vectors hold`,
        );
      } finally {
        await engine.close();
      }
    });
  return bundle;
}

function describeBundle(id: string, active: boolean, manifest: Manifest): string {
  const groups = manifest.groups.map(
    ({ name, pool }) => `${name}: ${pool.slots} slots of ${pool.keyWidth} + ${pool.valueWidth}`,
  );
  const fields = manifest.record.fields.map(
    ({ name, type, width }) => `${name} ${type}${width > 1 ? ` x ${width}` : ''}`,
  );
  return pairs([
    ['id', `${id}${active ? ' (active)' : ''}`],
    ['name', manifest.name],
    ['family', manifest.family],
    ['width', `${manifest.dModel}, ${manifest.heads} heads`],
    ['KV groups', groups.join('; ')],
    ['row', fields.join(', ')],
    ['positions', `at most ${manifest.maxPositions}`],
    ['items', manifest.items.count],
    ['actions', manifest.actions.join(', ')],
    ['trained by', manifest.training.command],
    ...Object.entries(manifest.training.metrics).map(([name, value]) => [`  ${name}`, value] as const),
  ]);
}

function deadline(): { deadlineMs: number } {
  return { deadlineMs: Date.now() + 10_000 };
}
