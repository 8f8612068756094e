// A child process that floods a gRPC server in an open loop: it sends requests at a rate, whether or not answers come.
// Its frames are made before, so that it takes little processor time. It gets a FloodPlan, and sends a FloodResult.
import { setPriority } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { randomNumbers } from '../random.js';
import { connectHttp2, type Http2Connection } from './http2-connection.js';
import { createPhaseRecord, type Outcome, type PhaseRecord } from './phase-record.js';
import type { FloodPhase, FloodPhaseResult, FloodPlan } from './plan.js';
import { createRequests, type Requests } from './requests.js';

/** Its delays must be those of the server: it may run before the other processes. */
const PRIORITY = -10;
const RECONNECT_MS = 50;

interface Lane {
  readonly connection: Http2Connection;
  readonly requests: Requests;
}

interface Pending {
  readonly dueMs: number;
  ended: boolean;
  cancel(): void;
  onLate(): void;
}

async function flood(plan: FloodPlan): Promise<FloodPhaseResult[]> {
  const random = randomNumbers(plan.seed);
  const lanes: Lane[] = [];
  const pending: Pending[] = [];
  let stopped = false;
  const keepConnected = async (at: number): Promise<void> => {
    while (!stopped) {
      if (!lanes[at] || lanes[at].connection.closed) {
        const connection = await connectHttp2(plan.port).catch(() => undefined);
        if (connection) lanes[at] = { connection, requests: createRequests(connection, plan) };
      }
      await sleep(RECONNECT_MS);
    }
  };
  const connecting = Array.from({ length: plan.connections }, (_, at) => keepConnected(at));
  while (lanes.filter(Boolean).length < plan.connections) await sleep(1);
  let sentCount = 0;

  /** Ends the requests whose callers give up now. All have the same time, so the oldest come first. */
  function giveUp(nowMs: number): void {
    while (pending[0] && (pending[0].ended || nowMs - pending[0].dueMs >= plan.timeoutMs)) {
      const oldest = pending.shift() as Pending;
      if (oldest.ended) continue;
      oldest.ended = true;
      oldest.cancel();
      oldest.onLate();
    }
  }

  async function run(phase: FloodPhase): Promise<() => FloodPhaseResult> {
    const startedMs = performance.now();
    const endMs = startedMs + phase.durationMs;
    const record = createPhaseRecord(phase.name, startedMs);
    const gapMs = 'ratePerS' in phase ? () => (-Math.log(1 - random()) * 1_000) / phase.ratePerS : undefined;
    let dueMs = startedMs;
    const fill = 'inFlight' in phase ? keepInFlight(record, phase.inFlight, endMs) : () => undefined;
    for (let nowMs = startedMs; nowMs < endMs; nowMs = performance.now()) {
      giveUp(nowMs);
      for (; gapMs && dueMs <= nowMs; dueMs += gapMs()) {
        record.sent(nowMs - dueMs);
        send(record, dueMs);
      }
      fill();
      for (const { connection } of lanes) connection.flush();
      await sleep(1);
    }
    return record.result;
  }

  /** Returns a function that sends requests until so many are in flight. Each that ends is replaced at once. */
  function keepInFlight(record: PhaseRecord, count: number, endMs: number): () => void {
    let inFlight = 0;
    const fill = () => {
      for (; inFlight < count && performance.now() < endMs; inFlight++) {
        record.sent(0);
        send(record, performance.now(), onEnd);
      }
    };
    const onEnd = () => {
      inFlight--;
      fill();
    };
    return fill;
  }

  function send(record: PhaseRecord, dueMs: number, onOver: () => void = () => undefined): void {
    const { requests } = lanes[sentCount % lanes.length] as Lane;
    const onEnd = (outcome: Outcome) => {
      if (request.ended) return;
      request.ended = true;
      record.ended(dueMs, performance.now() - dueMs, outcome);
      onOver();
    };
    const onLate = () => {
      record.ended(dueMs, plan.timeoutMs, { kind: 'late' });
      onOver();
    };
    const request: Pending = { dueMs, ended: false, cancel: () => undefined, onLate };
    request.cancel = requests.send(sentCount++, onEnd);
    pending.push(request);
  }

  const results: (() => FloodPhaseResult)[] = [];
  for (const phase of plan.phases) results.push(await run(phase));
  while (pending.length > 0) {
    giveUp(performance.now());
    for (const { connection } of lanes) connection.flush();
    await sleep(1);
  }
  stopped = true;
  await Promise.all(connecting);
  for (const { connection } of lanes) connection.close();
  return results.map((result) => result());
}

try {
  setPriority(PRIORITY);
} catch {
  // only root may; the load generator then waits for its turn as the others do
}
process.on('disconnect', () => process.exit());
process.once('message', async (plan: FloodPlan) => {
  const phases = await flood(plan);
  const { user, system } = process.cpuUsage();
  process.send?.({ phases, processorSeconds: (user + system) / 1e6 });
});
