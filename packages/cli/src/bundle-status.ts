import { counted } from '@collectivekv/domain';
import type { BundleStatus } from '@collectivekv/operations';
import { table } from './print.js';
import { percent } from './share-option.js';

/** Returns the status of bundles as a table. */
export function statusTable(bundles: readonly BundleStatus[]): string {
  const states = table(
    ['id', 'name', 'encoding', 'state', 'share', 'coverage', 'loaded by'],
    bundles.map((one) => [
      one.id,
      one.name,
      one.encodingId,
      one.state,
      one.shareBp > 0 ? percent(one.shareBp) : '',
      coverageText(one, bundles[0]?.encodingId),
      loadedText(one),
    ]),
  );
  return `${states}\n\n${rollbackText(bundles)}`;
}

/** Returns what a rollback would do: `a rollback leads to: ID (NAME)`. */
function rollbackText(bundles: readonly BundleStatus[]): string {
  const target = bundles.find(({ rollbackTarget }) => rollbackTarget);
  const canaries = bundles.filter(({ state }) => state === 'canary').map(({ id }) => id);
  const ends = canaries.length > 0 ? `; it is active already, and ${canaries.join(', ')} would serve nobody` : '';
  return `a rollback leads to: ${target ? `${target.id} (${target.name})${ends}` : 'none'}`;
}

function coverageText({ coverage, encodingId }: BundleStatus, activeEncodingId: string | undefined): string {
  if (encodingId === activeEncodingId) return 'records of the active bundle';
  if (!coverage) return '';
  if (coverage.sampledCount === 0) return 'unknown';
  const share = (coverage.warmCount / coverage.sampledCount) * 100;
  return `${share.toFixed(1)}% of ${counted(coverage.sampledCount, 'request')}`;
}

/** Returns how many replicas of each service have loaded the bundle: `ranking 2 of 3, updater 1 of 1`. */
function loadedText({ followers }: BundleStatus): string {
  const services = [...new Set(followers.map(({ service }) => service))].sort();
  return services
    .map((service) => {
      const replicas = followers.filter((one) => one.service === service);
      return `${service} ${replicas.filter(({ loaded }) => loaded).length} of ${replicas.length}`;
    })
    .join(', ');
}
