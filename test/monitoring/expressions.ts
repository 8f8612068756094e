import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

/** Folder of the rules and dashboards. */
export const MONITORING = fileURLToPath(new URL('../../deploy/monitoring', import.meta.url));

/** A recording rule or an alert. */
export interface Rule {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
  readonly labels?: { readonly severity?: string };
  readonly annotations?: { readonly summary?: string; readonly runbook?: string };
}

/** Returns all rules. */
export function readRules(): Rule[] {
  const { groups } = parse(readFileSync(`${MONITORING}/rules.yaml`, 'utf8')) as { groups: { rules: Rule[] }[] };
  return groups.flatMap(({ rules }) => rules);
}

/** A line of a dashboard's panel. */
export interface PanelLine {
  readonly panel: string;
  readonly expr: string;
}

/** Returns the expressions of all panels, with Grafana's interval filled in. */
export function readPanels(): PanelLine[] {
  const { panels } = JSON.parse(readFileSync(`${MONITORING}/dashboards/collectivekv.json`, 'utf8')) as {
    panels: { title: string; targets?: { expr: string }[] }[];
  };
  return panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => ({ panel: title, expr: expr.replaceAll('$__rate_interval', '1m') })),
  );
}
