import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OwnSecrets } from './checks/names.js';
import { ROOT } from './tools.js';

/** Returns the Secrets that operators make for these components: their READMEs have a row `| Secret | key | … |` for each. */
export function ownSecretsOf(components: readonly string[]): OwnSecrets {
  const secrets = new Map<string, string[]>();
  for (const component of components.filter((name) => name !== 'console')) {
    const page = readFileSync(join(ROOT, 'deploy/kubernetes/components', component, 'README.md'), 'utf8');
    for (const [, name = '', key = ''] of page.matchAll(/^\| `([\w-]+)` \| `([\w.-]+)` \|/gm)) {
      secrets.set(name, [...(secrets.get(name) ?? []), key]);
    }
  }
  return secrets;
}
