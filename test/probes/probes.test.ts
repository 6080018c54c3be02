import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, expect, test } from 'vitest';
import { Health, type HealthSources } from '../../syncer/health.ts';
import { Probes } from '../../syncer/probes.ts';

let probes: Probes | null = null;
afterEach(() => probes?.close());

interface State {
  live: string | null;
  ready: string | null;
}

async function start(): Promise<{ state: State; get: (path: string, method?: string) => unknown }> {
  const state: State = { live: null, ready: null };
  probes = await Probes.start({
    host: '127.0.0.1',
    port: 0,
    live: () => state.live,
    ready: () => state.ready,
    metrics: { contentType: 'text/plain; version=0.0.4', metrics: async () => 'a 1\n' },
  });
  const { port } = probes;
  const get = async (path: string, method = 'GET') => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method });
    return [answer.status, answer.headers.get('content-type'), await answer.text()];
  };
  return { state, get };
}

const TEXT = 'text/plain; charset=utf-8';

test('say what is wrong, with the status that the kubelet looks at', async () => {
  const { state, get } = await start();
  expect(await get('/healthz')).toEqual([200, TEXT, 'ok\n']);
  expect(await get('/readyz?verbose')).toEqual([200, TEXT, 'ok\n']);
  state.ready = 'not yet';
  state.live = 'stuck';
  expect(await get('/readyz')).toEqual([503, TEXT, 'not yet\n']);
  expect(await get('/healthz')).toEqual([503, TEXT, 'stuck\n']);
});

test('metrics, in the type that Prometheus asks for', async () => {
  const { get } = await start();
  expect(await get('/metrics')).toEqual([200, 'text/plain; version=0.0.4', 'a 1\n']);
});

test('nothing else', async () => {
  const { get } = await start();
  expect(await get('/')).toMatchObject({ 0: 404 });
  expect(await get('/healthz/../metrics2')).toMatchObject({ 0: 404 });
  expect(await get('/healthz', 'POST')).toMatchObject({ 0: 405 });
  expect(await get('/healthz', 'HEAD')).toEqual([200, TEXT, '']);
});

test('a stranger who sends nonsense gets an answer and ends nothing', async () => {
  const { get } = await start();
  for (const target of ['//', 'http://[', '*', '/%', '/x\\']) {
    const socket = connect(probes?.port ?? 0, '127.0.0.1');
    socket.end(`GET ${target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`);
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 [45]/);
  }
  expect(await get('/healthz')).toMatchObject({ 0: 200 });
});

test('a port that is taken is told', async () => {
  await start();
  const { port } = probes ?? { port: 0 };
  const nothing = async () => '';
  const again = Probes.start({
    ...{ host: '127.0.0.1', port, live: () => null, ready: () => null },
    metrics: { contentType: TEXT, metrics: nothing },
  });
  await expect(again).rejects.toThrow(`cannot listen on 127.0.0.1:${port} for probes`);
});

test('health: what makes a syncer unready, and what does not', () => {
  const spec = { holder: 'x', durationMs: 1, transitions: 1, acquiredAtMs: 0, renewedAtMs: 0 };
  const sources = {
    source: { synced: false },
    loop: { runningForMs: 0 },
    reconciler: { failingForMs: 0, isDeposed: false },
    election: { isByLease: true, lease: null as HealthSources['election']['lease'] },
  };
  const health = new Health(sources);
  expect(health.ready()).toMatch(/not every watched kind/);
  sources.source.synced = true;
  expect(health.ready()).toMatch(/Lease/);
  sources.election.lease = spec;
  expect(health.ready()).toBeNull();
  // Both are for ever.
  sources.source.synced = false;
  sources.election.lease = null;
  expect(health.ready()).toBeNull();

  sources.reconciler.failingForMs = 4 * 60_000;
  expect(health.ready()).toBeNull();
  sources.reconciler.failingForMs = 6 * 60_000;
  expect(health.ready()).toBe('publishing has failed for 6 min');
  sources.reconciler.failingForMs = 0;
  sources.reconciler.isDeposed = true;
  expect(health.ready()).toMatch(/^deposed/);
  expect(health.live()).toBeNull();
  sources.loop.runningForMs = 25 * 60_000;
  expect(health.live()).toBe('one run has been under way for 25 min');
  health.stopping();
  expect(health.ready()).toBe('stopping');
});
