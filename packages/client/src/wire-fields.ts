import { CkvError } from '@collectivekv/domain';

/** What a call sent, as far as the names of fields in the errors of the service need it. */
export interface Sent {
  /** Names of the features, in the order in which they were sent. */
  readonly candidateFeatures?: readonly string[];
  readonly contextFeatures?: readonly string[];
  /** Prefix of the field's path in the caller's words, in place of the first part of the path: `inputs[3]`. */
  readonly inPlaceOf?: { readonly wire: RegExp; readonly caller: (index: number) => string };
}

/** Fields whose name in the SDK is not the one on the wire in camel case. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  history_policy: 'history',
  candidate_id_text: 'candidateIds',
  candidate_id_lengths: 'candidateIds',
  timeout_ms: 'timeoutMs',
};

/**
 * Returns an error of a service with the names of the SDK in place of those on the wire. The caller wrote `userId`, so
 * the error must not say `user_id`.
 */
export function inCallersWords(error: CkvError, sent: Sent = {}): CkvError {
  if (error.reason === 'bug') return error;
  // A failure of RankMany has no field, but its text begins with it.
  const begun = error.reason === 'invalid_request' ? /^[a-z][\w.[\]]*(?=: )/.exec(error.message)?.[0] : undefined;
  const wire = error.field ?? begun;
  if (wire === undefined) return error;
  const field = callersField(wire, sent);
  const { message, reason, retryAfterMs } = error;
  const rest = message.startsWith(`${wire}: `) ? message.slice(wire.length) : `: ${message}`;
  return new CkvError(reason, field + camelCase(rest), { field, retryAfterMs, cause: error.cause ?? error });
}

function callersField(wire: string, { candidateFeatures = [], contextFeatures = [], inPlaceOf }: Sent): string {
  const moved = inPlaceOf?.wire.exec(wire);
  const path = moved ? inPlaceOf?.caller(Number(moved[1])) + wire.slice(moved[0].length) : wire;
  // Names of features are the caller's own.
  const [fields = '', feature] = path.split(/(?<=\.features)\.(.*)/s);
  const named = camelCase(fields)
    .replace(/\bcandidateFeatures\[(\d+)\]\.(name|values)/, (_, i) => `candidateFeatures.${candidateFeatures[i] ?? i}`)
    .replace(
      /\bcontextFeatures\[(\d+)\]\.(name|values)(\[0\])?/,
      (_, i) => `contextFeatures.${contextFeatures[i] ?? i}`,
    );
  return feature === undefined ? named : `${named}.${feature}`;
}

/** The fields of requests. Other words with an underscore are not ours: a feature may be called `watch_ratio`. */
const FIELDS =
  /\b(user_id|item_id|event_id|timestamp_ms|candidate_ids|candidate_id_text|candidate_id_lengths|candidate_features|context_features|recent_interactions|max_staleness_ms|timeout_ms|top_k|bundle_id|capture_id|history_policy|receipt_id|idempotency_key)\b/g;

function camelCase(text: string): string {
  return text.replace(
    FIELDS,
    (name) => OTHER_NAMES[name] ?? name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase()),
  );
}
