import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  ClusterSource,
  type ClusterSourceOptions,
} from '../../syncer/kubernetes/cluster-source.ts';
import { Changes, LogLines } from './harness.ts';
import { type RawObject, ScriptedApiServer } from './scripted-api-server.ts';

const CONTROLLER = 'causeway.dev/ingress-controller';
const KINDS = ['ingressclasses', 'ingresses', 'services', 'endpointslices', 'nodes'];

let server: ScriptedApiServer;
let changes: Changes;
let source: ClusterSource;

beforeEach(async () => {
  server = await ScriptedApiServer.start();
  server.discovers({
    'networking.k8s.io/v1': ['ingressclasses', 'ingresses'],
    'discovery.k8s.io/v1': ['endpointslices'],
  });
  for (const kind of KINDS) server.serves(kind);
  changes = new Changes();
});

afterEach(async () => {
  await source.stop();
  await server.close();
});

function start(options: Partial<ClusterSourceOptions> = {}): void {
  const { kubeConfig } = server;
  source = new ClusterSource({ kubeConfig, logger: new LogLines(), ...options });
  void source.start(changes.note);
}

function ingressClass(name: string, controller: string, parameters: object): RawObject {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IngressClass',
    metadata: { name },
    spec: { controller, parameters: { kind: 'ConfigMap', namespace: 'edge', ...parameters } },
  };
}

function configMap(name: string, data: object = {}): RawObject {
  return { metadata: { name, namespace: 'edge' }, data };
}

describe('ConfigMaps', () => {
  test('are watched one by one while an IngressClass of ours names them', async () => {
    server.serves('configmaps', [configMap('ours'), configMap('theirs'), configMap('unrelated')]);
    server.serves('ingressclasses', [
      ingressClass('ours', CONTROLLER, { name: 'ours' }),
      ingressClass('theirs', 'acme.example/other', { name: 'theirs' }),
      ingressClass('custom', CONTROLLER, { name: 'custom', apiGroup: 'acme.example' }),
      ingressClass('of-the-cluster', CONTROLLER, { name: 'ours', namespace: '' }),
    ]);
    start({ controllerName: CONTROLLER });
    await changes.until(() => source.synced);
    expect(source.state().configMaps).toMatchObject([
      { namespace: 'edge', name: 'ours', data: {} },
    ]);

    server.emit('configmaps', 'MODIFIED', configMap('ours', { dialer: 'vpc' }));
    await changes.until(() => source.state().configMaps[0]?.data.dialer === 'vpc');
    server.emit('ingressclasses', 'DELETED', ingressClass('ours', CONTROLLER, {}));
    await changes.until(() => source.state().configMaps.length === 0);
    const asked = server.calls.filter((it) => it.resource === 'configmaps');
    expect(new Set(asked.map((it) => `${it.namespace}/${it.name}`))).toEqual(
      new Set(['edge/ours']),
    );
  });

  test('that are refused count as absent', async () => {
    server.serves('ingressclasses', [ingressClass('ours', CONTROLLER, { name: 'ours' })]);
    start({ controllerName: CONTROLLER });
    const list = await server.next('list', 'configmaps');
    await changes.until(() => changes.count === KINDS.length);
    expect(source.synced).toBe(false);
    list.refuse(403, 'Forbidden');
    await changes.until(() => source.synced);
    expect(source.state().configMaps).toEqual([]);
  });
});

test('Namespaces are watched when asked for, and their labels count', async () => {
  const namespace = (team: string): RawObject => ({ metadata: { name: 'shop', labels: { team } } });
  server.serves('namespaces', [namespace('a')]);
  start({ kinds: ['Namespace', 'Ingress'] });
  await changes.until(() => source.synced);
  server.emit('namespaces', 'MODIFIED', namespace('b'));
  await changes.until(() => source.state().namespaces[0]?.labels.team === 'b');
});

test('what is written to an Ingress wakes nobody, and is there for whoever writes next', async () => {
  const ingress = (hostname: string | null, manager = 'kubectl'): RawObject => ({
    metadata: {
      name: 'web',
      namespace: 'shop',
      uid: 'uid-of-web',
      managedFields: [
        { manager: 'kubectl', fieldsV1: { 'f:spec': {} } },
        { manager, fieldsV1: { 'f:status': {} } },
      ],
    },
    spec: {},
    ...(hostname && { status: { loadBalancer: { ingress: [{ hostname }] } } }),
  });
  server.serves('ingresses', [ingress(null)]);
  start();
  await changes.until(() => source.synced);
  const before = changes.count;
  server.emit('ingresses', 'MODIFIED', ingress('edge.example.com', 'causeway'));
  server.emit('ingresses', 'ADDED', { metadata: { name: 'marker', namespace: 'shop' }, spec: {} });
  await changes.until(() => source.state().ingresses.length === 2);
  expect(changes.count).toBe(before + 1);
  expect(source.state().ingresses.find((it) => it.name === 'web')).toMatchObject({
    uid: 'uid-of-web',
    record: {
      resourceVersion: '1001',
      addresses: [{ ip: '', hostname: 'edge.example.com', ports: 0 }],
      statusManagers: ['causeway'],
    },
  });
});

test('an address that a Service gets wakes, since status may be a copy of it', async () => {
  const service = (ingress: object[]): RawObject => ({
    metadata: { name: 'front', namespace: 'edge' },
    spec: { type: 'LoadBalancer' },
    status: { loadBalancer: { ingress } },
  });
  server.serves('services', [service([])]);
  start();
  await changes.until(() => source.synced);
  server.emit('services', 'MODIFIED', service([{ ip: '192.0.2.1' }]));
  await changes.until(() => source.state().services[0]?.loadBalancer[0]?.ip === '192.0.2.1');
});
