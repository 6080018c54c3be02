import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { PROBLEM_REASONS } from '../snapshot/types.ts';
import { type Expiry, soonestExpiries } from './certificate-expiry.ts';
import type { Clock } from './clock.ts';
import type { CallCounts } from './cloudflare/budget.ts';
import type { TimedCompilation } from './compile/validity.ts';
import { conflictsByHost } from './conflicts.ts';
import type { EventOutcome } from './event-writer.ts';
import type { KindStats } from './kubernetes/cluster-source.ts';
import { countSnapshot } from './plan.ts';
import type { PublishResult } from './publish-result.ts';
import type { StatusOutcome } from './status-writer.ts';

/** What came of a run that was to publish. */
export type Outcome =
  | PublishResult['outcome']
  /** The pointer is right, but its mirror or the problems are not. */
  | 'unfinished'
  | 'failed'
  /** Leadership ended in the middle. */
  | 'abandoned';

const OUTCOMES: readonly Outcome[] = [
  ...(['published', 'unchanged', 'pinned', 'deposed'] as const),
  ...(['unfinished', 'failed', 'abandoned'] as const),
];
/** After these the edge serves what it should. */
const SUCCESSES: ReadonlySet<Outcome> = new Set(['published', 'unchanged', 'pinned']);

const DAY_MS = 24 * 60 * 60_000;

/** What is asked when the metrics are read. */
export interface MetricSources {
  readonly calls: () => CallCounts;
  readonly kinds: () => readonly KindStats[];
  readonly synced: () => boolean;
  readonly leads: () => boolean;
  /** `leaseTransitions` of the Lease as it was last seen; 0 without. */
  readonly leaseTransitions: () => number;
}

export interface MetricsOptions {
  readonly clock: Clock;
  /** Milliseconds since the epoch. */
  readonly wallMs: () => number;
  readonly sources: MetricSources;
  /** Node's own as well: heap, event loop, garbage collection. Default true. */
  readonly process?: boolean;
}

/** Everything that Prometheus is told. Labels have few values; see {@link conflictsByHost}. */
export class Metrics {
  readonly registry = new Registry();
  readonly #options: MetricsOptions;
  #succeededAtMs: number | null = null;
  #expiries: readonly Expiry[] = [];

  readonly #publications = this.#counter('publications_total', 'Runs by result', ['result']);
  readonly #lastSuccess = this.#gauge(
    'publication_last_success_timestamp_seconds',
    'When the edge was last known to serve what the cluster asks for',
  );
  readonly #compileSeconds = this.#histogram(
    'compile_duration_seconds',
    'Time to compile the cluster into a snapshot',
    [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
  );
  readonly #publishSeconds = this.#histogram(
    'publish_duration_seconds',
    'Time to publish, by result',
    [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300],
    ['result'],
  );
  readonly #virtualHosts = this.#gauge('virtual_hosts', 'Hostnames in the snapshot');
  readonly #routes = this.#gauge('routes', 'Routes in the snapshot');
  readonly #upstreams = this.#gauge('upstreams', 'Service ports in the snapshot');
  readonly #endpoints = this.#gauge('endpoints', 'Endpoints in the snapshot');
  readonly #problems = this.#gauge('problems', 'Mistakes in objects, by reason', ['reason']);
  readonly #conflicts = this.#gauge(
    'route_conflicts',
    'Claims that lost to another Ingress; hosts beyond the 50 worst are together as (other)',
    ['host'],
  );
  readonly #tlsHosts = this.#gauge(
    'tls_hosts',
    'Hosts under spec.tls, by whether there is a valid certificate for them (usable) or not (none)',
    ['certificate'],
  );
  readonly #transitions = this.#counter(
    'leader_transitions_total',
    'How often this process began and ceased to lead',
    ['to'],
  );
  readonly #statusWrites = this.#counter(
    'status_writes_total',
    'Writes to the status of Ingresses, by outcome',
    ['outcome'],
  );
  readonly #events = this.#counter(
    'events_total',
    'Kubernetes Events by outcome; dropped ones wait for a later publication',
    ['outcome'],
  );

  constructor(options: MetricsOptions) {
    this.#options = options;
    for (const result of OUTCOMES) this.#publications.inc({ result }, 0);
    for (const to of ['leader', 'standby']) this.#transitions.inc({ to }, 0);
    this.#addLeadership();
    this.#addWatches();
    this.#addCalls();
    this.#addExpiries();
    if (options.process ?? true) collectDefaultMetrics({ register: this.registry });
  }

  compiled(compilation: TimedCompilation, seconds: number): void {
    const { snapshot, problems, claims, certificates } = compilation;
    this.#compileSeconds.observe(seconds);
    const counts = countSnapshot(snapshot);
    this.#virtualHosts.set(counts.virtualHosts);
    this.#routes.set(counts.routes);
    this.#upstreams.set(counts.upstreams);
    this.#endpoints.set(counts.endpoints);
    for (const reason of Object.keys(PROBLEM_REASONS)) this.#problems.set({ reason }, 0);
    for (const { reason } of problems) this.#problems.inc({ reason });
    const usable = [...certificates.values()].filter((it) => it.length > 0).length;
    this.#tlsHosts.set({ certificate: 'usable' }, usable);
    this.#tlsHosts.set({ certificate: 'none' }, certificates.size - usable);
    this.#expiries = soonestExpiries(certificates);
    this.#conflicts.reset();
    for (const [host, count] of conflictsByHost(claims)) this.#conflicts.set({ host }, count);
  }

  published(result: Outcome, seconds?: number): void {
    this.#publications.inc({ result });
    if (seconds !== undefined) this.#publishSeconds.observe({ result }, seconds);
    if (!SUCCESSES.has(result)) return;
    this.#succeededAtMs = this.#options.clock.now();
    this.#lastSuccess.set(this.#options.wallMs() / 1000);
  }

  leadershipChanged(leads: boolean): void {
    this.#transitions.inc({ to: leads ? 'leader' : 'standby' });
  }

  statusWritten(outcome: StatusOutcome): void {
    this.#statusWrites.inc({ outcome });
  }

  eventTold(outcome: EventOutcome): void {
    this.#events.inc({ outcome });
  }

  #addLeadership(): void {
    const { sources, clock } = this.#options;
    this.#asked('leader', 'Whether this process leads', () => (sources.leads() ? 1 : 0));
    this.#asked('lease_transitions', 'leaseTransitions of the Lease', sources.leaseTransitions);
    this.#asked('synced', 'Whether every watched kind was listed once', () =>
      sources.synced() ? 1 : 0,
    );
    this.#asked(
      'publication_age_seconds',
      'Seconds since the last successful publication of this process; NaN before the first',
      () => (this.#succeededAtMs === null ? NaN : (clock.now() - this.#succeededAtMs) / 1000),
    );
  }

  #addExpiries(): void {
    const help = 'Days until a certificate that is served ends; the 50 Secrets that end soonest';
    const gauge = this.#gauge('certificate_days_left', help, ['secret'], () => {
      gauge.reset();
      const nowMs = this.#options.wallMs();
      for (const { secret, notAfterMs } of this.#expiries) {
        gauge.set({ secret }, (notAfterMs - nowMs) / DAY_MS);
      }
    });
  }

  #addWatches(): void {
    const { kinds } = this.#options.sources;
    const byKind = (name: string, help: string, value: (stats: KindStats) => number) => {
      const metric = name.endsWith('_total')
        ? this.#counter(name, help, ['kind'], collect)
        : this.#gauge(name, help, ['kind'], collect);
      function collect() {
        metric.reset();
        for (const stats of kinds()) metric.inc({ kind: stats.kind }, value(stats));
      }
    };
    byKind('watches', 'Watches that there should be', (it) => it.watches);
    byKind('watches_failing', 'Watches that do not watch now', (it) => it.failing);
    byKind('watched_objects', 'Objects in the caches', (it) => it.objects);
    byKind('watch_restarts_total', 'Watches that broke and began anew', (it) => it.restarts);
    byKind('watch_lists_total', 'Full lists read', (it) => it.lists);
  }

  #addCalls(): void {
    const { calls } = this.#options.sources;
    const help = 'Calls of the Cloudflare API by HTTP status; none without an answer';
    const byStatus = this.#counter('cloudflare_api_calls_total', help, ['status'], () => {
      byStatus.reset();
      for (const [status, count] of Object.entries(calls().byStatus))
        byStatus.inc({ status }, count);
    });
    const total = (name: string, text: string, value: (counts: CallCounts) => number) => {
      const metric = this.#counter(name, text, [], () => {
        metric.reset();
        metric.inc(value(calls()));
      });
    };
    total('cloudflare_api_retries_total', 'Calls that were made again', (it) => it.retries);
    total('cloudflare_api_failures_total', 'Calls that were given up', (it) => it.failures);
    total(
      'cloudflare_api_held_back_seconds_total',
      'Time that calls waited for the budget or because of retry-after',
      (it) => it.heldBackMs / 1000,
    );
    this.#asked(
      'cloudflare_api_budget_remaining_calls',
      'Calls that may still start in the present five minutes',
      () => calls().callsLeft,
    );
  }

  #asked(name: string, help: string, value: () => number): void {
    const gauge = this.#gauge(name, help, [], () => gauge.set(value()));
  }

  #counter(name: string, help: string, labelNames: string[] = [], collect = () => {}) {
    const registers = [this.registry];
    return new Counter({ name: `causeway_${name}`, help, labelNames, registers, collect });
  }

  #gauge(name: string, help: string, labelNames: string[] = [], collect = () => {}) {
    const registers = [this.registry];
    return new Gauge({ name: `causeway_${name}`, help, labelNames, registers, collect });
  }

  #histogram(name: string, help: string, buckets: number[], labelNames: string[] = []) {
    const registers = [this.registry];
    return new Histogram({ name: `causeway_${name}`, help, buckets, labelNames, registers });
  }
}
