import { useState } from 'preact/hooks';
import type { ChangeView, QueueView, SessionView } from '../src/views.js';
import { ask } from './ask.js';
import { count, duration, time } from './format.js';
import { Badge, Confirm, Figures, Id, Panel, ProblemBox, Table, useAnswer } from './parts.js';

const LOOK_MS = 3_000;

/** Shows the interaction queue, and retries jobs if changes are allowed. */
export function QueuePage({ session }: { session: SessionView }) {
  if (!session.queue) {
    return (
      <Panel title="No queue">
        <p>
          This console does not reach the queue. Set <code>CKV_QUEUE_REDIS_URL</code> to its Redis, and start it again.
          The fleet page shows the age of the oldest job without it.
        </p>
      </Panel>
    );
  }
  return <Queue session={session} />;
}

function Queue({ session }: { session: SessionView }) {
  const { answer, problem, again } = useAnswer(() => ask<QueueView>('queue', { limit: 100 }), 'queue', LOOK_MS);
  const [ids, setIds] = useState<readonly string[]>();
  if (!answer) return <ProblemBox problem={problem} />;
  const { partitions, jobs } = answer;
  const busy = partitions.filter(({ waiting, active, setAside }) => waiting + active + setAside > 0);
  const retry = (chosen: readonly string[], text: string, label: string) => (
    <button type="button" onClick={() => setIds(chosen)} aria-label={label}>
      {text}
    </button>
  );
  return (
    <>
      <ProblemBox problem={problem} />
      <Figures
        of={[
          ['Waiting jobs', count(answer.waiting)],
          ['Oldest waiting', duration(answer.oldestWaitingMs / 1_000)],
          ['In work', count(answer.active)],
          ['Set aside', <Badge kind={answer.setAside > 0 ? 'warn' : 'good'}>{count(answer.setAside)}</Badge>],
        ]}
      />
      <Panel
        title="Jobs that were set aside"
        aside={session.writes && jobs.length > 0 ? retry([], 'Retry all…', 'Retry all jobs that were set aside') : null}
      >
        {jobs.length === 0 ? (
          <p>No jobs are set aside.</p>
        ) : (
          <Table
            caption={`The newest ${count(jobs.length)} of ${count(answer.setAside)} jobs that were set aside`}
            head={['Job', 'Kind', 'Partition', 'Set aside at', 'Reason', ...(session.writes ? ['Change'] : [])]}
            numbers={[2]}
            rows={jobs.map((job) => [
              <Id>{job.id}</Id>,
              job.kind,
              job.partition,
              time(job.setAsideAtMs),
              job.reason,
              ...(session.writes ? [retry([job.id], 'Retry…', `Retry job ${job.id}`)] : []),
            ])}
          />
        )}
        <p class="quiet">
          A job is set aside if it cannot succeed, and hurts no other. <code>npx ckv queue</code> shows its content, and
          drops it.
        </p>
      </Panel>
      <Panel title="Partitions">
        {busy.length === 0 ? (
          <p>All {count(partitions.length)} partitions are empty.</p>
        ) : (
          <Table
            caption={`${count(busy.length)} of ${count(partitions.length)} partitions; the others are empty`}
            head={['Partition', 'Waiting', 'In work', 'Set aside']}
            numbers={[0, 1, 2, 3]}
            rows={busy.map((one) => [one.partition, count(one.waiting), count(one.active), count(one.setAside)])}
          />
        )}
      </Panel>
      {ids ? (
        <Confirm
          title={ids.length === 0 ? 'Retry all jobs?' : 'Retry the job?'}
          action="Retry"
          tokens={session.tokens}
          onClose={() => {
            setIds(undefined);
            again();
          }}
          work={async (token) => (await ask<ChangeView>('queue/retry', { ids }, token)).done}
        >
          <p>
            {ids.length === 0 ? `${count(answer.setAside)} jobs go` : 'The job goes'} back into the queue. Mend first
            what made it fail, or it is set aside again.
          </p>
        </Confirm>
      ) : null}
    </>
  );
}
