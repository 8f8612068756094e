import { readProblem, readSmallFile } from '@collectivekv/credentials';
import { counted } from '@collectivekv/domain';
import { z } from 'zod';
import { GRPC_REMEDY, isLoopback, unsafeBind } from './loopback.js';

/** `host:port` with a port from 0 to 65535. */
const HOST_PORT = /^.+:(\d{1,4}|[0-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])$/;

/** Returns the schema of the variables that every service reads. */
export function commonConfig({ port }: { port: number }) {
  return {
    CKV_BIND: z
      .string()
      .regex(HOST_PORT, 'must be host:port, with a port up to 65535')
      .default(`127.0.0.1:${port}`)
      .describe('address of the gRPC server; port 0 takes a free port'),
    CKV_TOKEN: z
      .string()
      .min(16, 'must have at least 16 characters')
      .regex(/^[\x21-\x7e]*$/, 'must be printable ASCII without spaces')
      .optional()
      .transform(orEmpty)
      .describe('bearer token that this service sends, and that its callers must send unless CKV_TOKENS_FILE is set'),
    CKV_TOKEN_FILE: optionalText('file that holds the token instead of CKV_TOKEN; read again when it changes'),
    CKV_TOKENS_FILE: optionalText(
      'file of the tokens that callers may send, one a line: ROLE[,ROLE] TOKEN [LABEL]; read again when it changes',
    ),
    CKV_TLS_CERT_FILE: optionalText(
      "PEM file of the certificate chain of this service's server; setting it turns on TLS",
    ),
    CKV_TLS_KEY_FILE: optionalText('PEM file of the private key of CKV_TLS_CERT_FILE'),
    CKV_TLS_CLIENT_CA_FILE: optionalText(
      "PEM file of the authorities that sign callers' certificates; setting it refuses callers without such a certificate",
    ),
    CKV_TLS_CA_FILE: optionalText(
      'PEM file of the authorities that sign the certificates of other services; setting it turns on TLS for calls to them',
    ),
    CKV_TLS_CLIENT_CERT_FILE: optionalText(
      'PEM file of the certificate chain that this service shows to other services; default: CKV_TLS_CERT_FILE',
    ),
    CKV_TLS_CLIENT_KEY_FILE: optionalText(
      'PEM file of the private key of CKV_TLS_CLIENT_CERT_FILE; default: CKV_TLS_KEY_FILE',
    ),
    CKV_TLS_SERVER_NAME: optionalText(
      'name that the certificates of other services must have; default: the host or one of the hosts of the target',
    ),
    CKV_USE_PROXY: z
      .stringbool()
      .default(false)
      .describe(
        'call other services through the HTTP proxy of grpc_proxy, https_proxy or http_proxy, except those in no_proxy; loopback is never proxied',
      ),
    CKV_ALLOW_INSECURE: z
      .stringbool()
      .default(false)
      .describe('allow addresses beyond loopback without tokens or client certificates, CKV_METRICS_BIND as well'),
    CKV_LOG_LEVEL: z
      .enum(['debug', 'info', 'warn', 'error', 'silent'])
      .default('info')
      .describe('lowest level that is logged'),
    CKV_METRICS_BIND: z
      .string()
      .regex(HOST_PORT, 'must be host:port, with a port up to 65535')
      .default('127.0.0.1:0')
      .describe('address of /metrics, /livez and /readyz: plain HTTP, without a token'),
    CKV_METRICS_ALLOW_INSECURE: z
      .stringbool()
      .default(false)
      .describe('allow CKV_METRICS_BIND beyond loopback: whoever reaches it reads the metrics, which name no user'),
    CKV_DRAIN_DELAY_MS: z.coerce
      .number()
      .int()
      .min(0)
      .max(60_000)
      .default(0)
      .describe('time between reporting not ready and refusing calls, so that load balancers notice'),
    CKV_MAX_CONNECTION_AGE_S: z.coerce
      .number()
      .int()
      .min(0)
      .max(86_400)
      .default(0)
      .describe(
        'age at which callers are asked to connect again, seconds, so that those in other languages find new replicas; 0: never',
      ),
    CKV_STOP_WITH_STDIN: z
      .stringbool()
      .default(false)
      .describe('shut down when standard input ends, so that a child process does not outlive its parent'),
    CKV_GRACE_MS: z.coerce
      .number()
      .int()
      .min(0)
      .max(600_000)
      .default(10_000)
      .describe('time for calls in flight to finish at shutdown'),
  };
}

/** Returns the schema of an optional text, such as a file's path. */
export function optionalText(description: string) {
  return z.string().optional().transform(orEmpty).describe(description);
}

function orEmpty(value: string | undefined): string {
  return value ?? '';
}

/** Values of the variables of {@link commonConfig}. */
export type CommonConfig = z.infer<z.ZodObject<ReturnType<typeof commonConfig>>>;

/** An invalid configuration. The message lists the problems. */
export class ConfigError extends Error {
  constructor(problems: readonly string[]) {
    super(
      `configuration has ${counted(problems.length, 'problem')}:\n  ${problems.join('\n  ')}\nSee docs/configuration.md.`,
    );
    this.name = 'ConfigError';
  }
}

/**
 * Reads a configuration from the environment. An empty variable counts as unset. `NAME_FILE` names a file that holds
 * the value of `NAME`, for secrets: no pipe and no device; `NAME` itself comes first.
 * @throws ConfigError that lists every problem with the variable's name
 */
export function parseConfig<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  env: NodeJS.ProcessEnv,
): Readonly<z.infer<z.ZodObject<Shape>>> {
  const problems: string[] = [];
  const values: Record<string, string> = {};
  for (const name of Object.keys(schema.shape)) {
    const path = env[`${name}_FILE`];
    const base = name.replace(/_FILE$/, '');
    if (base !== name && base in schema.shape && env[base]) continue; // CKV_TOKEN comes before CKV_TOKEN_FILE
    if (env[name]) values[name] = env[name];
    else if (path) {
      const secret = readSecret(path, `${name}_FILE`, problems);
      if (secret !== undefined) values[name] = secret;
    }
  }
  const parsed = schema.safeParse(values);
  if (!parsed.success) problems.push(...parsed.error.issues.map((issue) => problemOf(issue, schema, values)));
  problems.push(...bindProblems(values));
  if (!parsed.success || problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(parsed.data);
}

/** Returns the variable, what is wrong with its value, and the remedy. */
function problemOf(issue: z.core.$ZodIssue, schema: z.ZodObject, values: Record<string, string>): string {
  const name = issue.path.join('.');
  const {
    enum: words,
    type,
    minimum = -Infinity,
    maximum = Infinity,
  } = z.toJSONSchema(schema.shape[name] as z.ZodType, { unrepresentable: 'any' });
  const refused = (allowed: string) => `${name}: "${values[name]}" is not ${allowed}; set such a value, or unset it`;
  if (type === 'boolean') return refused('true or false');
  if (words) return refused(`one of ${words.join(', ')}`);
  if (type === 'integer') {
    const bounded = maximum < Number.MAX_SAFE_INTEGER;
    return refused(`a whole number ${bounded ? `from ${minimum} to ${maximum}` : `of at least ${minimum}`}`);
  }
  // An empty variable is unset, so only a file can give an empty text.
  if (values[name] === '') return `${name}_FILE: its file is empty; write the value of ${name} into it, or unset it`;
  return `${name}: ${issue.message}`;
}

/**
 * Returns the problem of an unguarded address, so that it is reported together with the others. `createServiceServer`
 * checks again.
 */
function bindProblems(values: Record<string, string>): string[] {
  const { CKV_BIND, CKV_ALLOW_INSECURE } = values;
  const guards = [values.CKV_TOKEN, values.CKV_TOKENS_FILE, values.CKV_TLS_CLIENT_CA_FILE, CKV_ALLOW_INSECURE];
  if (CKV_BIND === undefined || guards.some(Boolean) || isLoopback(CKV_BIND)) return [];
  return [unsafeBind('CKV_BIND', CKV_BIND, GRPC_REMEDY)];
}

/** Returns the content, or undefined if the file cannot be read, which is then among the problems. */
function readSecret(path: string, name: string, problems: string[]): string | undefined {
  try {
    return readSmallFile(path).toString().trim();
  } catch (error) {
    problems.push(`${name}: ${readProblem(path, error)}`);
    return undefined;
  }
}
