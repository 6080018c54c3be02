import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  ClusterSource,
  type ClusterSourceOptions,
  WATCH_TIMING,
} from '../../syncer/kubernetes/cluster-source.ts';
import { Changes, FakeClock, LogLines } from './harness.ts';
import { type RawObject, ScriptedApiServer } from './scripted-api-server.ts';

const PATIENCE_MS = 5000;

let server: ScriptedApiServer;
let clock: FakeClock;
let log: LogLines;
let changes: Changes;
let sources: ClusterSource[];

beforeEach(async () => {
  server = await ScriptedApiServer.start();
  clock = new FakeClock(PATIENCE_MS);
  log = new LogLines();
  changes = new Changes();
  sources = [];
});

afterEach(async () => {
  await Promise.all(sources.map((source) => source.stop()));
  await server.close();
});

function startSource(overrides: Partial<ClusterSourceOptions> = {}): ClusterSource {
  const source = new ClusterSource({
    kubeConfig: server.kubeConfig,
    logger: log,
    timing: { ...WATCH_TIMING, clock, random: () => 0, secretPatienceMs: PATIENCE_MS },
    ...overrides,
  });
  sources.push(source);
  void source.start(changes.note);
  return source;
}

const KINDS = ['ingressclasses', 'ingresses', 'services', 'endpointslices', 'nodes'];

function healthy(): void {
  server.discovers({
    'networking.k8s.io/v1': ['ingressclasses', 'ingresses'],
    'discovery.k8s.io/v1': ['endpointslices'],
  });
  for (const kind of KINDS) server.serves(kind);
}

function ingress(name: string, secretNames: readonly string[], metadata = {}): RawObject {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name, namespace: 'shop', ...metadata },
    spec: { tls: secretNames.map((secretName) => ({ hosts: ['a.example'], secretName })) },
  };
}

function secret(name: string, key = 'key'): RawObject {
  const data = { 'tls.crt': btoa('certificate'), 'tls.key': btoa(key) };
  return { metadata: { name, namespace: 'shop', resourceVersion: '1' }, data };
}

function node(heartbeat: string, ready = 'True'): RawObject {
  const conditions = [{ type: 'Ready', status: ready, lastHeartbeatTime: heartbeat }];
  return { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n' }, status: { conditions } };
}

const secretNames = (source: ClusterSource) => source.state().secrets.map((it) => it.name);

describe('synced', () => {
  test('only when each kind was listed once', async () => {
    healthy();
    const source = startSource();
    await changes.until(() => source.synced);
    expect(changes.count).toBe(KINDS.length);
    expect(source.state()).toMatchObject({ ingresses: [], nodes: [], problems: [] });
  });

  test('needs no kind that is left out', async () => {
    healthy();
    const source = startSource({ kinds: ['Ingress', 'Service', 'EndpointSlice', 'Secret'] });
    await changes.until(() => source.synced);
    const resources = server.calls.map((call) => call.resource);
    expect(resources).not.toContain('nodes');
    expect(resources).not.toContain('ingressclasses');
  });

  test('waits for a refused kind for ever', async () => {
    server.discovers({ 'discovery.k8s.io/v1': ['endpointslices'] });
    server.serves('services', [{ metadata: { name: 'web', namespace: 'shop' } }]);
    const source = startSource({ kinds: ['Service', 'EndpointSlice'] });
    const list = () => server.next('list', 'endpointslices');
    for (let attempt = 0; attempt < 3; attempt++) (await list()).refuse(403, 'Forbidden');
    const allowed = await list();
    await changes.until(() => source.state().services.length === 1);
    expect(source.synced).toBe(false);
    expect(source.stats().find((it) => it.kind === 'EndpointSlice')).toMatchObject({
      synced: false,
      failing: 1,
      restarts: 3,
      lists: 0,
      lastError: expect.stringContaining('403 Forbidden'),
    });
    allowed.page([], '10');
    await changes.until(() => source.synced);
  });
});

describe('Secrets', () => {
  test('are watched one by one while an Ingress names them', async () => {
    healthy();
    server.serves('ingresses', [ingress('web', ['tls', 'tls', '']), ingress('other', [])]);
    server.serves('secrets', [secret('tls'), secret('new'), secret('unrelated')]);
    const source = startSource();
    await changes.until(() => source.synced);
    expect(secretNames(source)).toEqual(['tls']);

    server.emit('ingresses', 'MODIFIED', ingress('other', ['new', 'tls']));
    await changes.until(() => secretNames(source).length === 2);
    server.emit('ingresses', 'DELETED', ingress('web', []));
    await changes.until(() => source.state().ingresses.length === 1);
    // The other Ingress still names it.
    expect(secretNames(source)).toEqual(['new', 'tls']);
    server.emit('ingresses', 'MODIFIED', ingress('other', ['new']));
    await changes.until(() => secretNames(source).length === 1);

    const secretCalls = server.calls.filter((call) => call.resource === 'secrets');
    expect(new Set(secretCalls.map((call) => `${call.namespace}/${call.name}`))).toEqual(
      new Set(['shop/tls', 'shop/new']),
    );
    // The watch of the dropped one has ended.
    await secretCalls.find((call) => call.name === 'tls' && call.verb === 'watch')?.closed;
  });

  test('do not sync before their answer, and an absent or refused one is an answer', async () => {
    healthy();
    server.serves('ingresses', [ingress('web', ['absent', 'refused'])]);
    const source = startSource();
    const calls = [await server.next('list', 'secrets'), await server.next('list', 'secrets')];
    await changes.until(() => changes.count === KINDS.length);
    expect(source.synced).toBe(false);
    for (const call of calls) {
      if (call.name === 'absent') call.page([], '10');
      else call.refuse(403, 'Forbidden');
    }
    (await server.next('list', 'secrets')).refuse(403, 'Forbidden');
    await log.written.until(() => log.lines.length > 0);
    await changes.until(() => source.synced);
    expect(source.state().secrets).toEqual([]);
    expect(log.lines).toMatchObject([
      {
        fields: { verb: 'list', resource: 'secrets', namespace: 'shop', name: 'refused' },
        message: expect.stringContaining('may not list secret shop/refused'),
      },
    ]);
    // Waited without end: nothing was published yet.
    expect(clock.held).toBe(0);
  });

  test('named later are waited for, but not for long', async () => {
    healthy();
    const source = startSource();
    await changes.until(() => source.synced);
    server.emit('ingresses', 'ADDED', ingress('web', ['tls']));
    const list = await server.next('list', 'secrets');
    await changes.until(() => source.state().ingresses.length === 1);
    expect(source.synced).toBe(false);
    clock.release();
    await changes.until(() => source.synced);
    expect(secretNames(source)).toEqual([]);
    list.page([secret('tls')], '10');
    await changes.until(() => secretNames(source).length === 1);
    expect(source.synced).toBe(true);
  });

  test('with another private key and the same certificate have changed', async () => {
    healthy();
    server.serves('ingresses', [ingress('web', ['tls'])]);
    server.serves('secrets', [secret('tls', 'old')]);
    const source = startSource();
    await changes.until(() => source.synced);
    server.emit('secrets', 'MODIFIED', secret('tls', 'new'));
    await changes.until(() => source.state().secrets[0]?.privateKey.reveal() === 'new');
  });

  test('are no business of a source without them', async () => {
    healthy();
    server.serves('ingresses', [ingress('web', ['tls'])]);
    const source = startSource({ kinds: ['Ingress'] });
    await changes.until(() => source.synced);
    expect(server.calls.some((call) => call.resource === 'secrets')).toBe(false);
  });
});

test('heartbeats and the annotations of others wake nobody', async () => {
  healthy();
  const annotations = { 'kubernetes.io/ingress.class': 'causeway' };
  server.serves('ingresses', [ingress('web', [], { annotations })]);
  server.serves('nodes', [node('10:00')]);
  const source = startSource();
  await changes.until(() => source.synced);
  const before = changes.count;
  const noisy = { ...annotations, 'kubectl.kubernetes.io/last-applied-configuration': '{}' };
  server.emit('ingresses', 'MODIFIED', ingress('web', [], { annotations: noisy }));
  server.emit('ingresses', 'ADDED', ingress('marker', []));
  await changes.until(() => source.state().ingresses.length === 2);
  server.emit('nodes', 'MODIFIED', node('10:01'));
  server.emit('nodes', 'MODIFIED', node('10:02', 'False'));
  await changes.until(() => source.state().nodes[0]?.ready === false);
  expect(changes.count).toBe(before + 2);
  expect(source.state().ingresses.find((it) => it.name === 'web')?.annotations).toEqual(
    annotations,
  );
});

test('only the given namespaces are watched', async () => {
  healthy();
  const service = (namespace: string) => ({ metadata: { name: 'web', namespace } });
  server.serves('services', ['a', 'b', 'c'].map(service));
  const source = startSource({ namespaces: ['a', 'b', 'a'] });
  await changes.until(() => source.synced);
  expect(source.state().services.map((it) => it.namespace)).toEqual(['a', 'b']);
  const asked = server.calls.filter((call) => call.verb === 'list');
  expect(asked.map((call) => `${call.resource} ${call.namespace}`).sort()).toEqual([
    'endpointslices a',
    'endpointslices b',
    'ingressclasses null',
    'ingresses a',
    'ingresses b',
    'nodes null',
    'services a',
    'services b',
  ]);
});

describe('API discovery', () => {
  const old = {
    metadata: { name: 'web', namespace: 'shop' },
    spec: { backend: { serviceName: 'web', servicePort: 80 } },
  };

  test.each([
    ['networking.k8s.io/v1beta1', 'discovery.k8s.io/v1beta1'],
    ['extensions/v1beta1', 'discovery.k8s.io/v1beta1'],
  ])('takes %s where there is nothing newer', async (networking, discovery) => {
    healthy();
    server.discovers({
      // The group's version is there, without the kind.
      'networking.k8s.io/v1': ['networkpolicies'],
      'discovery.k8s.io/v1': [],
      [networking]: ['ingresses', 'ingresses/status'],
      [discovery]: ['endpointslices'],
    });
    server.serves('ingresses', [old]);
    const source = startSource();
    await changes.until(() => source.synced);
    expect(source.state().ingresses[0]?.defaultBackend).toEqual({
      type: 'Service',
      service: 'web',
      port: { number: 80 },
    });
    const paths = server.calls.filter((it) => it.verb === 'list').map((it) => it.path);
    expect(paths).toContain(`/apis/${networking}/ingresses`);
    expect(paths).toContain(`/apis/${discovery}/endpointslices`);
  });

  test('is asked again when the version has gone', async () => {
    server.discovers({ 'discovery.k8s.io/v1beta1': ['endpointslices'] });
    const source = startSource({ kinds: ['EndpointSlice'] });
    (await server.next('list', 'endpointslices')).page([], '10');
    const watch = await server.next('watch', 'endpointslices');
    server.discovers({ 'discovery.k8s.io/v1': ['endpointslices'] });
    watch.refuse(404, 'NotFound');
    const list = await server.next('list', 'endpointslices');
    expect(list.path).toBe('/apis/discovery.k8s.io/v1/endpointslices');
    expect(source.synced).toBe(true);
  });

  test('a server without IngressClass has none, one without Ingress is waited for', async () => {
    server.discovers({ 'apps/v1': [] });
    const source = startSource({ kinds: ['IngressClass', 'Ingress'] });
    await log.written.until(() => log.lines.length === 2);
    expect(source.stats().map((it) => [it.kind, it.synced])).toEqual([
      ['IngressClass', true],
      ['Ingress', false],
    ]);
  });
});
