import type { FleetPoint, FleetView, ReplicaView, SessionView } from '../src/views.js';
import { ask } from './ask.js';
import { bytes, digits, duration, ms, percent } from './format.js';
import { Badge, Figures, Id, Panel, ProblemBox, Table, useAnswer } from './parts.js';
import { TimeLines } from './time-lines.js';

const LOOK_MS = 2_000;

/** Shows the services, live. */
export function FleetPage(_: { session: SessionView }) {
  const { answer, problem } = useAnswer(() => ask<FleetView>('fleet'), 'fleet', LOOK_MS);
  return (
    <>
      <ProblemBox problem={problem} />
      {answer ? <Fleet fleet={answer} /> : null}
    </>
  );
}

function Fleet({ fleet }: { fleet: FleetView }) {
  if (!fleet.configured) {
    return (
      <Panel title="No metrics">
        <p>
          The console does not know where the services have their metrics. Set <code>CKV_CONSOLE_METRICS</code> to their
          addresses, such as <code>ranking:9464,updater:9464</code>, and start it again.
        </p>
      </Panel>
    );
  }
  const { points, replicas } = fleet;
  const latest = latestOf(points);
  const answered = [latest.fullPerS, latest.recentOnlyPerS, latest.noHistoryPerS].map((one) => one ?? 0);
  const all = answered.reduce((sum, one) => sum + one, 0);
  const down = replicas.filter(({ problem }) => problem !== null).length;
  return (
    <>
      <Figures
        of={[
          [
            'Replicas',
            `${replicas.length - down} of ${replicas.length}`,
            down > 0 ? `${down} without metrics` : 'all answer',
          ],
          ['Rank p50', ms(latest.rankP50Ms), `${digits(latest.ranksPerS)} a second`],
          ['Rank p99', ms(latest.rankP99Ms)],
          ['Full answers', all > 0 ? percent((answered[0] ?? 0) / all) : '–', 'the others are on a lower rung'],
          ['Freshness p99', ms(latest.freshP99Ms), `${digits(latest.interactionsPerS)} interactions a second`],
          ['Oldest waiting job', duration(latest.oldestWaitingS)],
        ]}
      />
      <Panel title="Times" aside={<small>every {fleet.everyS} s, while the console runs</small>}>
        <div class="charts">
          <TimeLines
            title="Rank requests"
            unit="ms"
            points={points}
            lines={[
              { name: 'p50', of: (point) => point.rankP50Ms, tone: 1 },
              { name: 'p99', of: (point) => point.rankP99Ms, tone: 2 },
            ]}
          />
          <TimeLines
            title="Event to servable"
            unit="ms"
            points={points}
            lines={[
              { name: 'p50', of: (point) => point.freshP50Ms, tone: 1 },
              { name: 'p99', of: (point) => point.freshP99Ms, tone: 2 },
            ]}
          />
          <TimeLines
            title="Answers by rung"
            unit="a second"
            points={points}
            lines={[
              { name: 'full', of: (point) => point.fullPerS, tone: 1 },
              { name: 'recent only', of: (point) => point.recentOnlyPerS, tone: 3 },
              { name: 'no history', of: (point) => point.noHistoryPerS, tone: 2 },
            ]}
          />
          <TimeLines
            title="Oldest waiting job"
            unit="s"
            points={points}
            lines={[{ name: 'age', of: (point) => point.oldestWaitingS, tone: 2 }]}
          />
        </div>
      </Panel>
      <Panel title="Replicas" aside={<small>figures of the last minute</small>}>
        <Table
          caption="The replicas of all services"
          head={[
            'Service',
            'Address',
            'State',
            'Up',
            'Calls/s',
            'p50',
            'p99',
            'Failed',
            'CPU',
            'Memory',
            'Loop p99',
            'Bundles',
          ]}
          numbers={[3, 4, 5, 6, 7, 8, 9, 10]}
          rows={replicas.map(rowOf)}
        />
      </Panel>
    </>
  );
}

function rowOf(replica: ReplicaView) {
  const partitions = replica.partitions === null ? '' : ` (${replica.partitions} partitions)`;
  return [
    `${replica.service || 'unknown'}${partitions}`,
    <Id>{replica.address}</Id>,
    replica.problem === null ? <Badge kind="good">answers</Badge> : <Badge kind="bad">{replica.problem}</Badge>,
    duration(replica.upS),
    digits(replica.callsPerS),
    ms(replica.p50Ms),
    ms(replica.p99Ms),
    percent(replica.failedShare),
    replica.cpu === null ? '–' : percent(replica.cpu),
    bytes(replica.residentBytes),
    ms(replica.loopP99Ms),
    <Bundles of={replica.bundles} />,
  ];
}

function Bundles({ of }: { of: ReplicaView['bundles'] }) {
  if (of.length === 0) return <>–</>;
  return (
    <ul class="plain">
      {of.map(({ id, name, state, loaded }) => (
        <li key={id}>
          <Badge kind={!loaded ? 'warn' : state === 'active' ? 'good' : 'plain'}>
            {name || id.slice(0, 8)}, {loaded ? state || 'loaded' : 'loading'}
          </Badge>
        </li>
      ))}
    </ul>
  );
}

/** Returns the latest value of each figure within the last minute or so. */
function latestOf(points: readonly FleetPoint[]): Partial<FleetPoint> {
  const latest: Record<string, number> = {};
  for (const point of points.slice(-12)) {
    for (const [name, value] of Object.entries(point)) if (value !== null) latest[name] = value;
  }
  return latest;
}
