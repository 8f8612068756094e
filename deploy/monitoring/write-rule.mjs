// Writes the rules as an object of the Prometheus operator: `node deploy/monitoring/write-rule.mjs`. With --check it
// writes nothing, and fails if the file is out of date.
import { readFileSync, writeFileSync } from 'node:fs';

const FILE = new URL('prometheus-rule.yaml', import.meta.url);
const HEAD = `# Written by write-rule.mjs from rules.yaml: change them there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: collectivekv
  labels:
    app.kubernetes.io/part-of: collectivekv
spec:
`;

const rules = readFileSync(new URL('rules.yaml', import.meta.url), 'utf8').replace(/^#.*\n/gm, '');
const text = HEAD + rules.replace(/^(?=.)/gm, '  ');
if (!process.argv.includes('--check')) writeFileSync(FILE, text);
else if (readFileSync(FILE, 'utf8') !== text) {
  console.error('deploy/monitoring/prometheus-rule.yaml is out of date; run write-rule.mjs');
  process.exit(1);
}
