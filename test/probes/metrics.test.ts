import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { PROBLEM_REASONS } from '../../snapshot/types.ts';
import { SECRETS_MAX } from '../../syncer/certificate-expiry.ts';
import { clusterState } from '../../syncer/cluster-state.ts';
import type { Certificate } from '../../syncer/compile/certificate.ts';
import { DEFAULTS } from '../../syncer/compile/options.ts';
import { compileAt, type TimedCompilation } from '../../syncer/compile/validity.ts';
import { conflictsByHost, HOSTS_MAX, OTHER_HOSTS } from '../../syncer/conflicts.ts';
import { Metrics } from '../../syncer/metrics.ts';
import { SecretText } from '../../syncer/secret-text.ts';
import { ManualClock } from '../publish/support/clocks.ts';
import { snapshotOf } from '../publish/support/snapshots.ts';

const WALL_MS = 1_795_341_600_000;

function setUp() {
  const clock = new ManualClock();
  const metrics = new Metrics({
    clock,
    wallMs: () => WALL_MS,
    sources: {
      calls: () => ({
        calls: 12,
        callsInWindow: 12,
        callsLeft: 1_088,
        byStatus: { 200: 9, 429: 2, none: 1 },
        retries: 3,
        failures: 0,
        heldBackMs: 77_000,
      }),
      kinds: () => [
        {
          ...{ kind: 'Ingress', objects: 5, watches: 1, failing: 1, synced: true },
          ...{ restarts: 4, lists: 2, lastError: null },
        },
      ],
      synced: () => true,
      leads: () => true,
      leaseTransitions: () => 7,
    },
  });
  return { clock, metrics, read: () => metrics.registry.metrics() };
}

const compilation: TimedCompilation = {
  ...compileAt(clusterState([]), DEFAULTS, WALL_MS),
  snapshot: snapshotOf(['a.example.com', 'b.example.com']),
  problems: [
    {
      object: { kind: 'Ingress', namespace: 'default', name: 'web' },
      reason: 'ServiceNotFound',
      message: 'no such Service',
    },
  ],
};

test('what is compiled, published, watched and called', async () => {
  const { clock, metrics, read } = setUp();
  expect(await read()).toMatch(/^causeway_publication_age_seconds Nan$/im);
  metrics.compiled(compilation, 0.002);
  metrics.published('published', 0.2);
  metrics.published('failed', 9);
  metrics.leadershipChanged(true);
  await clock.advance(5_000);
  const lines = (await read()).split('\n');
  for (const line of [
    'causeway_virtual_hosts 2',
    'causeway_routes 2',
    'causeway_upstreams 2',
    'causeway_endpoints 2',
    'causeway_problems{reason="ServiceNotFound"} 1',
    'causeway_problems{reason="RouteConflict"} 0',
    'causeway_publications_total{result="published"} 1',
    'causeway_publications_total{result="failed"} 1',
    'causeway_publications_total{result="abandoned"} 0',
    'causeway_publication_age_seconds 5',
    'causeway_publication_last_success_timestamp_seconds 1795341600',
    'causeway_compile_duration_seconds_count 1',
    'causeway_publish_duration_seconds_bucket{le="0.3",result="published"} 1',
    'causeway_cloudflare_api_calls_total{status="429"} 2',
    'causeway_cloudflare_api_calls_total{status="none"} 1',
    'causeway_cloudflare_api_budget_remaining_calls 1088',
    'causeway_cloudflare_api_held_back_seconds_total 77',
    'causeway_watch_restarts_total{kind="Ingress"} 4',
    'causeway_watches_failing{kind="Ingress"} 1',
    'causeway_watched_objects{kind="Ingress"} 5',
    'causeway_leader 1',
    'causeway_leader_transitions_total{to="leader"} 1',
    'causeway_lease_transitions 7',
    'causeway_synced 1',
  ]) {
    expect(lines).toContain(line);
  }
  // Counters that others keep do not grow by being read.
  expect(await read()).toContain('causeway_cloudflare_api_calls_total{status="200"} 9\n');
});

test('a problem that is mended is counted no more', async () => {
  const { metrics, read } = setUp();
  metrics.compiled(compilation, 0.002);
  metrics.compiled({ ...compilation, problems: [] }, 0.002);
  expect(await read()).toMatch(/^causeway_problems\{reason="ServiceNotFound"\} 0$/m);
});

test('conflicts: the worst hosts by name, the others together', () => {
  const lost = (hostname: string) => ({
    hostname,
    verdict: { kind: 'foreign-host', owner: 'team-a', because: 'x' } as const,
  });
  const hosts = Array.from({ length: 1_000 }, (_, i) => `h${i}.example.com`);
  const claims = [...hosts.map(lost), lost('worst.example.com'), lost('worst.example.com')];
  const won = { hostname: 'won.example.com', verdict: { kind: 'won' } as const };
  const counts = conflictsByHost([won, ...claims]);
  expect(counts.size).toBe(HOSTS_MAX + 1);
  expect([...counts][0]).toEqual(['worst.example.com', 2]);
  expect(counts.get(OTHER_HOSTS)).toBe(1_000 - (HOSTS_MAX - 1));
  expect(conflictsByHost([won]).size).toBe(0);
});

test('days left of the certificates that are served, the soonest of them', async () => {
  const { metrics, read } = setUp();
  const certificate = (name: string, days: number): Certificate => ({
    secret: { kind: 'Secret', namespace: 'shop', name },
    keyType: 'ecdsa',
    chain: '',
    privateKey: new SecretText('x'),
    fingerprint: '',
    subject: '',
    names: [],
    notBeforeMs: 0,
    notAfterMs: WALL_MS + days * 24 * 60 * 60_000,
  });
  const many = Array.from({ length: SECRETS_MAX + 5 }, (_, i) => certificate(`s${i}`, 100 + i));
  const certificates = new Map([
    ['a.example', [certificate('a', 12.5)]],
    ['b.example', [certificate('a', 12.5), ...many]],
    ['c.example', []],
  ]);
  metrics.compiled({ ...compilation, certificates }, 0.002);
  const page = await read();
  expect(page).toMatch(/^causeway_certificate_days_left\{secret="shop\/a"\} 12\.5$/m);
  expect(page).toMatch(/^causeway_tls_hosts\{certificate="usable"\} 2$/m);
  expect(page).toMatch(/^causeway_tls_hosts\{certificate="none"\} 1$/m);
  expect(page.match(/^causeway_certificate_days_left\{/gm)).toHaveLength(SECRETS_MAX);
  metrics.compiled({ ...compilation, certificates: new Map() }, 0.002);
  expect(await read()).not.toContain('shop/a');
});

test('names are those that Prometheus advises', async () => {
  const { metrics } = setUp();
  for (const { name, type } of await metrics.registry.getMetricsAsJSON()) {
    if (!name.startsWith('causeway_')) continue;
    expect(name).toMatch(/^causeway_[a-z0-9]+(_[a-z0-9]+)*$/);
    expect([name, name.endsWith('_total')]).toEqual([name, String(type) === 'counter']);
    if (String(type) === 'histogram') expect(name).toMatch(/_seconds$/);
  }
});

test('no label has more values than there are', async () => {
  const { metrics, read } = setUp();
  metrics.compiled(compilation, 0.002);
  const reasons = (await read()).match(/^causeway_problems\{/gm);
  expect(reasons).toHaveLength(Object.keys(PROBLEM_REASONS).length);
});

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly type: string;
    readonly targets?: readonly { readonly expr: string }[];
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number };
  }[];
}

test('the dashboard asks for metrics that there are, with labels that they have', async () => {
  const { metrics } = setUp();
  const known = new Map<string, ReadonlySet<string>>();
  for (const metric of metrics.registry.getMetricsAsArray()) {
    const { labelNames } = metric as unknown as { labelNames: readonly string[] };
    for (const suffix of ['', '_bucket', '_sum', '_count']) {
      known.set(metric.name + suffix, new Set([...labelNames, 'le', 'pod', 'namespace']));
    }
  }
  const file = new URL('../../deploy/grafana-dashboard.json', import.meta.url);
  const { panels } = JSON.parse(readFileSync(file, 'utf8')) as Dashboard;
  const places = panels.map(({ gridPos: { x, y } }) => `${x} ${y}`);
  expect(new Set(places).size).toBe(panels.length);
  const asked = new Set<string>();
  for (const { type, title, targets = [] } of panels) {
    if (type !== 'row') expect([title, targets.length > 0]).toEqual([title, true]);
    for (const { expr } of targets) {
      const names = expr.match(/causeway_\w+/g) ?? [];
      expect([title, names.filter((name) => !known.has(name))]).toEqual([title, []]);
      const by = /\bby \(([\w, ]+)\)/.exec(expr)?.[1]?.split(/, ?/) ?? [];
      const labels = known.get(names[0] ?? '');
      expect([expr, by.filter((label) => !labels?.has(label))]).toEqual([expr, []]);
      for (const name of names) asked.add(name);
    }
  }
  expect(asked.size).toBeGreaterThan(15);
});
