import {
  followBundleTrust,
  loadBundle,
  readManifestBytes,
  readPrivateKey,
  renewBundle,
  requireTrust,
  signBundle,
} from '@collectivekv/bundles';
import { ALL_GRAPH_NAMES, invalidRequest, type Manifest, parseManifest, steadyNowMs } from '@collectivekv/domain';
import { createEngine } from '@collectivekv/engine';
import { listBundles } from '@collectivekv/operations';
import { Command, Option } from 'commander';
import { bundleIdOf } from './bundle-id.js';
import { addSwitchCommands } from './bundle-switch-commands.js';
import type { Connections } from './connections.js';
import { defaultCommand } from './default-command.js';
import { pairs, table } from './print.js';

/** Creates `ckv bundle`. */
export function bundleCommand(connections: Connections): Command {
  const bundle = new Command('bundle').description(
    'list, show and switch the bundles of the pool service; sign, verify and renew bundle folders',
  );
  const describe = (bundleId: string) => connections.pool().call('Describe', { bundleId }, deadline());
  defaultCommand(bundle, 'list')
    .description('list all bundles of the pool service, the active one first (default command)')
    .action(async () => {
      const bundles = (await listBundles(connections)).map(({ id, encodingId, state, manifest }) => {
        const { name, family, maxPositions, training } = manifest;
        return { id, encodingId, state, name, family, maxPositions, metrics: training.metrics };
      });
      connections.print(bundles, () =>
        table(
          ['id', 'encoding', 'name', 'family', 'max positions', 'state'],
          bundles.map(({ id, encodingId, name, family, maxPositions, state }) => [
            id,
            encodingId,
            name,
            family,
            maxPositions,
            state,
          ]),
        ),
      );
    });
  bundle
    .command('show')
    .description('show the structure and the training metrics of a bundle')
    .argument('[id]', 'bundle id of 16 hexadecimal digits, or name; default: the active bundle')
    .action(async (id: string | undefined) => {
      const { bundleId, encodingId, manifest, active, provider, device, precision } = await describe(
        id === undefined ? '' : await bundleIdOf(connections, id),
      );
      const parsed = parseManifest(manifest);
      connections.print({ bundleId, encodingId, active, provider, device, precision, manifest: parsed }, () =>
        describeBundle(parsed, { bundleId, encodingId, active }),
      );
    });
  bundle
    .command('verify')
    .description('check the files of a bundle folder and run its golden vectors on this machine')
    .argument('<folder>', 'folder that holds bundle.json')
    .addOption(
      new Option(
        '--trust <files>',
        'PEM files with ed25519 public keys, with commas between them: one of the keys must have signed the bundle',
      ).env('CKV_BUNDLE_TRUST'),
    )
    .action(async (folder: string, { trust: paths }: { trust?: string }) => {
      if (paths === '') throw invalidRequest('--trust', 'is empty', 'name PEM files with public keys, or leave it out');
      const trust = followBundleTrust({ field: '--trust', paths: paths ?? '' });
      const signedBy = trust ? await requireTrust(trust, folder, await readManifestBytes(folder)) : [];
      const engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
      try {
        const loaded = await loadBundle(folder, engine, {
          graphs: ALL_GRAPH_NAMES,
          verifyGolden: true,
          poolTables: true,
          trust,
        });
        const { id, encodingId, manifest } = loaded.model;
        await loaded.close();
        connections.print(
          { id, encodingId, name: manifest.name, verified: true, signedBy },
          () =>
            `${id} (${manifest.name}), encoding ${encodingId}: all files are intact, and all golden vectors pass; ${signersText(signedBy)}`,
        );
      } finally {
        await engine.close();
        trust?.close();
      }
    });
  bundle
    .command('sign')
    .description('check the files of a bundle folder, and add a signature of its bundle.json')
    .argument('<folder>', 'folder that holds bundle.json; bundle.json.sig is written beside it')
    .requiredOption('--key <file>', 'PEM file of an ed25519 private key; openssl genpkey -algorithm ed25519 makes one')
    .action(async (folder: string, { key: path }: { key: string }) => {
      const signed = await signBundle(folder, readPrivateKey({ field: '--key', path }));
      const { bundleId, name, keyId, keyIds } = signed;
      connections.print(signed, () => `${bundleId} (${name}): signed by ${keyId}; signatures: ${keyIds.join(', ')}`);
    });
  bundle
    .command('renew')
    .description('write a copy of a bundle folder with an encoding of its own, to build lost records anew')
    .argument('<folder>', 'folder that holds bundle.json')
    .argument('<copy>', 'folder to write, which is not there yet; its name is the name of the copy')
    .action(async (folder: string, copy: string) => {
      const renewed = await renewBundle(folder, copy);
      const { bundleId, encodingId, name } = renewed;
      connections.print(renewed, () => `${bundleId} (${name}), encoding ${encodingId}: in ${copy}; it is not signed`);
    });
  addSwitchCommands(bundle, connections);
  return bundle;
}

function signersText(signedBy: readonly string[]): string {
  return signedBy.length > 0 ? `signed by ${signedBy.join(', ')}` : 'signatures are not checked without --trust';
}

function describeBundle(
  manifest: Manifest,
  {
    bundleId,
    encodingId,
    active,
  }: { readonly bundleId: string; readonly encodingId: string; readonly active: boolean },
): string {
  const groups = manifest.groups.map(
    ({ name, pool }) =>
      `${name}: ${pool.slots} slots, key width ${pool.keyWidth}, value width ${pool.valueWidth ?? 'none'}`,
  );
  const fields = manifest.record.fields.map(
    ({ name, type, width }) => `${name} ${type}${width > 1 ? ` x ${width}` : ''}`,
  );
  const clusterings = (manifest.clusterings ?? []).map(({ name, by, width }) => {
    const counts = by.map(({ field, clusters }) => `${clusters} of ${field}`);
    return `${name}: ${counts.join(' x ')}, mean embeddings of width ${width}`;
  });
  return pairs([
    ['id', `${bundleId}${active ? ' (active)' : ''}`],
    ['encoding', encodingId],
    ['name', manifest.name],
    ['family', manifest.family],
    ['model width', `${manifest.dModel}, ${manifest.heads} heads`],
    ['KV groups', groups.join('; ')],
    ...(clusterings.length > 0 ? [['clusters', clusterings.join('; ')] as const] : []),
    ['fields of a row', fields.join(', ')],
    ['positions', `at most ${manifest.maxPositions}`],
    ['items', manifest.items.count],
    ['actions', manifest.actions.join(', ')],
    ['training command', manifest.training.command],
    ...Object.entries(manifest.training.metrics).map(([name, value]) => [`  ${name}`, value] as const),
  ]);
}

function deadline(): { deadlineMs: number } {
  return { deadlineMs: steadyNowMs() + 10_000 };
}
