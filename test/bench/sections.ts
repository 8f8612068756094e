import type { Params, Row } from './results.js';
import { RECOMMENDED } from './trained-bundles.js';

/** A table of the page. */
export interface Section {
  readonly title: string;
  readonly names: readonly string[];
  /** Parameters of lines and columns. The parameter `name` is the figure's name. */
  readonly grid: readonly [down: string, across: string];
  /** Restricts the table to rows with this value of a parameter. */
  readonly where?: readonly [parameter: string, value: string | number];
  /** True if the figures compare all trained bundles. */
  readonly compares?: true;
  /** True if the bundles have random weights. */
  readonly random?: true;
}

/** The tables after the summary and the targets: of the recommended bundle, and then of random weights. */
export const SECTIONS: readonly Section[] = [
  { title: 'Rank p50 by history length', names: ['rank_p50'], grid: ['positions', 'arm'] },
  {
    title: 'Rank p50 of each arm over that of the recommended bundle',
    names: [
      'speedup_full_kv_fp16',
      'speedup_full_kv_fp32',
      'speedup_recompute',
      'speedup_recompute_clusters',
      'speedup_pool',
    ],
    grid: ['positions', 'name'],
    compares: true,
  },
  {
    title: 'Rank p50 over the bare graph',
    names: [
      'bare_graph_p50',
      'rank_over_bare',
      'rank_over_bare_unary',
      'rank_over_bare_unsplit',
      'rank_over_bare_by_user_cache',
    ],
    grid: ['positions', 'name'],
  },
  {
    title: 'Stages of Rank with the recommended bundle, p50',
    names: ['rank_stage_p50'],
    grid: ['positions', 'stage'],
    where: ['arm', RECOMMENDED],
  },
  {
    title: 'Stages of Rank with a full fp16 cache, p50',
    names: ['rank_stage_p50'],
    grid: ['positions', 'stage'],
    where: ['arm', 'full_fp16'],
  },
  {
    title: 'Processor time of ranking per request',
    names: ['rank_cpu'],
    grid: ['positions', 'arm'],
    where: ['service', 'ranking'],
  },
  {
    title: 'By number of candidates, 1,000 positions',
    names: ['candidates_rank_p50', 'candidates_rank_cpu', 'candidates_bare_p50'],
    grid: ['candidates', 'name'],
  },
  { title: 'Answers per second, 1,000 positions', names: ['rank_rate'], grid: ['in flight', 'arm'] },
  {
    title: "Time of ranking's main thread by package, 16 requests in flight",
    names: ['main_thread_share'],
    grid: ['owner', 'name'],
  },
  {
    title: 'Processor time per request, 16 requests in flight',
    names: ['rank_processor_time'],
    grid: ['process', 'name'],
  },
  { title: 'Latency by offered load', names: ['open_loop_latency'], grid: ['offered /s', 'percentile'] },
  {
    title: 'Delay of the load generator, and share of failed requests',
    names: ['open_loop_sent_late_p99', 'open_loop_failed'],
    grid: ['offered /s', 'name'],
  },
  { title: 'Bytes per user in Redis', names: ['bytes_per_user'], grid: ['positions', 'arm'] },
  { title: 'Memory, short run', names: ['rss', 'rss_slope'], grid: ['service', 'name'], where: ['note', 'short'] },
  { title: 'Memory, soak', names: ['rss', 'rss_slope'], grid: ['service', 'name'], where: ['note', 'soak'] },
  {
    title: 'Ten times the sustainable load',
    names: [
      'overload_sustainable',
      'overload_offered',
      'overload_normal_p50',
      'overload_normal_p99',
      'overload_admitted',
      'overload_admitted_p50',
      'overload_admitted_p99',
      'overload_admitted_p99_over_normal',
      'overload_refused',
      'overload_refused_with_delay',
      'overload_refusal_p99',
      'overload_late',
      'overload_failed',
      'overload_answers_in_vain',
      'overload_peak_memory',
      'overload_recovery',
      'overload_load_generator',
    ],
    grid: ['name', 'door'],
  },
  {
    title: 'Switches of bundles: latency by offered load',
    names: [
      'switch_failed',
      'switch_requests',
      'switch_p50_without',
      'switch_p50',
      'switch_p99_without',
      'switch_p99',
      'switch_p99_over_without',
    ],
    grid: ['name', 'offered /s'],
  },
  {
    title: 'Switches of bundles: time and memory',
    names: ['switch_load', 'switch_time', 'switch_rss_settled', 'switch_rss', 'switch_rss_growth'],
    grid: ['name', 'switches'],
  },
  {
    title: 'Pools with random weights: Rank p50 by slots and positions',
    names: ['pool_rank_p50'],
    grid: ['pool', 'positions'],
    random: true,
  },
  {
    title: 'A pool of 256 with random weights: graphs alone, on one thread',
    names: ['assembled_graph_p50', 'collapsed_graph_p50', 'collapse_speedup'],
    grid: ['positions', 'name'],
    random: true,
  },
];

/** Returns the section's rows. */
export function rowsOf<Any extends Row>({ names, where }: Section, rows: readonly Any[]): Any[] {
  return rows.filter(({ name, params }) => names.includes(name) && (!where || params[where[0]] === where[1]));
}

/** Returns the trained bundle that a figure is of. */
export const bundleOf = ({ arm = RECOMMENDED }: Params): string => String(arm).split(',')[0] ?? RECOMMENDED;
