// Exits with 0 if the service of this container is ready, and with 1 otherwise. Kubernetes has probes of its own.
const { CKV_METRICS_BIND: bind = '127.0.0.1:9464' } = process.env;
const port = bind.slice(bind.lastIndexOf(':') + 1);
const ready = await fetch(`http://127.0.0.1:${port}/readyz`, { signal: AbortSignal.timeout(2_000) }).then(
  ({ ok }) => ok,
  () => false,
);
process.exit(ready ? 0 : 1);
