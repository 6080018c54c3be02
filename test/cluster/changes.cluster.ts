/**
 * The edge follows the cluster. Each test changes something and then asks once, without patience: what
 * the edge says it serves, it serves.
 *
 * All the while a route that nobody touches is asked, and must answer; and whoever is asked for, no
 * other Service may answer.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, waitFor } from './cluster.ts';
import { GatewayProcess } from './gateway-process.ts';
import { ingressChanges, ingressClassChanges } from './ingress-changes.ts';
import {
  applyAll,
  clusterIpService,
  deployment,
  ingress,
  namespace,
  nodePortService,
  syncerKubeconfig,
} from './manifests.ts';
import { podsOf } from './pods-of.ts';
import { answeredBy, neverAnotherThan, Traffic } from './traffic.ts';

let cluster: Cluster;
let gateway: GatewayProcess;
let stable: Traffic;

beforeAll(async () => {
  cluster = await Cluster.start();
  await applyAll(
    cluster,
    ...['other', 'shop'].map(namespace),
    deployment('stable', { replicas: 2 }),
    nodePortService('stable'),
    ingress('stable', { 'stable.example.com': { '/': 'stable' } }),
    deployment('web', { drainSeconds: 3 }),
    nodePortService('web', { nodePort: 30_100 }),
    ingress('web', { 'web.example.com': { '/': 'web' } }),
    deployment('other', { namespace: 'other' }),
    nodePortService('other', { namespace: 'other' }),
  );
  gateway = new GatewayProcess(cluster, { kubeconfig: await syncerKubeconfig(cluster) });
  await cluster.nodePort('default', 'stable');
  await cluster.nodePort('default', 'web');
  await cluster.nodePort('other', 'other');
  await gateway.ready();
  await gateway.serves('stable and web', (view) =>
    ['stable', 'web'].every((name) => view.endpoints(`default/${name}/80`).length === 2),
  );
  stable = Traffic.start({
    port: gateway.port,
    question: { host: 'stable.example.com' },
    check: answeredBy('default/stable'),
  });
});

afterEach(() => expect(stable.failures).toEqual([]));

afterAll(async () => {
  await stable?.stop();
  await cluster?.stop();
  const { count, failures } = stable;
  expect(failures).toEqual([]);
  console.log(`${count} requests for a route that nobody touched, all answered by its Service`);
});

describe('a Deployment', () => {
  test('of more and fewer pods, and pods of a new version: no request is lost', async () => {
    const web = webTraffic(answeredBy('default/web'));
    try {
      await scale('web', 3);
      await cluster.kubectl(['set', 'env', 'deployment/web', 'VERSION=2']);
      await cluster.rolledOut('default', 'web');
      await scale('web', 1);
      await waitFor(
        'the other pods to be gone',
        async () => (await podsOf(cluster, 'web')).length === 1,
      );
    } finally {
      await web.stop();
    }
    expect(web.failures).toEqual([]);
    expect(web.count).toBeGreaterThan(50);
  });

  test('without pods gives 503, said by the edge, until there is one again', async () => {
    // A moment before the edge knows, kube-proxy refuses the connection: that is 502.
    const web = webTraffic(neverAnotherThan('default/web', [502, 503]));
    try {
      await scale('web', 0);
      const view = await gateway.serves('web without endpoints', (it) =>
        it.hasProblem('NoEndpoints Service default/web'),
      );
      expect(view.upstream('web.example.com')).toBe('default/web/80');
      expect(view.endpoints('default/web/80')).toEqual([]);
      const { status, from, headers, text } = await gateway.ask({ host: 'web.example.com' });
      expect([status, from]).toEqual([503, 'edge']);
      expect(headers['x-request-id']).toMatch(/^[0-9a-f]{32}$/);
      expect(text).not.toMatch(/web|10\.0\.0/);
    } finally {
      await web.stop();
    }
    expect(web.failures).toEqual([]);
    await scale('web', 2);
    await cluster.nodePort('default', 'web');
    await gateway.serves(
      'web',
      (it) =>
        it.endpoints('default/web/80').length === 2 &&
        !it.hasProblem('NoEndpoints Service default/web'),
    );
    expect(await gateway.verdict('web.example.com')).toBe('200 default/web');
  });
});

describe('a Service', () => {
  test('that is deleted gives 503; created again, with another node port, it serves', async () => {
    const web = webTraffic(neverAnotherThan('default/web', [502, 503]));
    try {
      await cluster.kubectl(['delete', 'service', 'web']);
      await gateway.serves('no Service', (it) =>
        it.hasProblem('ServiceNotFound Ingress default/web'),
      );
      expect(await gateway.verdict('web.example.com')).toBe('503 edge');
    } finally {
      await web.stop();
    }
    expect(web.failures).toEqual([]);
    await applyAll(cluster, nodePortService('web', { nodePort: 30_101 }));
    await cluster.nodePort('default', 'web');
    const view = await gateway.serves('the new port', (it) =>
      it.endpoints('default/web/80').includes('10.0.0.11:30101'),
    );
    expect(view.endpoints('default/web/80')).toEqual(['10.0.0.11:30101', '10.0.0.12:30101']);
    expect(await gateway.verdict('web.example.com')).toBe('200 default/web');
  });

  test('may change its node port and stay', async () => {
    await applyAll(cluster, nodePortService('web', { nodePort: 30_102 }));
    await cluster.nodePort('default', 'web');
    await gateway.serves('the new port', (it) =>
      it.endpoints('default/web/80').every((each) => each.endsWith(':30102')),
    );
    expect(await gateway.verdict('web.example.com')).toBe('200 default/web');
  });

  test('that the edge cannot reach is a problem of its own', async () => {
    await applyAll(
      cluster,
      clusterIpService('inside'),
      ingress('inside', { 'inside.example.com': { '/': 'inside' } }),
    );
    await gateway.serves('the problem', (it) =>
      it.hasProblem('ServiceNotExposed Service default/inside'),
    );
    expect(await gateway.verdict('inside.example.com')).toBe('503 edge');
    await cluster.kubectl(['delete', 'ingress/inside', 'service/inside']);
    await gateway.serves('nothing there', (it) => it.upstream('inside.example.com') === undefined);
  });
});

describe('an Ingress', () => ingressChanges(() => ({ cluster, gateway })));

describe('an IngressClass', () => ingressClassChanges(() => ({ cluster, gateway })));

test('a hundred Ingresses at once are few publications', async () => {
  const names = Array.from({ length: 100 }, (_, n) => `bulk-${n}`);
  const before = publications();
  for (const name of names) {
    await applyAll(cluster, ingress(name, { [`${name}.example.com`]: { '/': 'web' } }));
  }
  await gateway.serves('all', (it) =>
    names.every((name) => it.hosts.includes(`${name}.example.com`)),
  );
  expect(await gateway.verdict('bulk-99.example.com')).toBe('200 default/web');
  await Promise.all(
    names.map((name) =>
      cluster.api.delete(`/apis/networking.k8s.io/v1/namespaces/default/ingresses/${name}`),
    ),
  );
  await gateway.serves('none', (it) => !it.hosts.some((host) => host.startsWith('bulk-')));
  expect(await gateway.verdict('bulk-0.example.com')).toBe('404 edge');
  expect(publications() - before).toBeLessThan(names.length / 4);
});

test('a namespace that is deleted takes its hosts along', async () => {
  const host = 'shop.example.com';
  const options = { namespace: 'shop' };
  const cart = ingress('cart', { [host]: { '/': 'cart' } }, options);
  await applyAll(cluster, nodePortService('cart', options), cart);
  await gateway.serves('the shop', (it) => it.hosts.includes(host));
  expect(await gateway.verdict(host)).toBe('503 edge');
  await cluster.kubectl(['delete', 'namespace', 'shop', '--wait=false']);
  await gateway.serves('no shop', (it) => !it.hosts.includes(host));
  expect(await gateway.verdict(host)).toBe('404 edge');
});

function webTraffic(check: ReturnType<typeof answeredBy>): Traffic {
  return Traffic.start({ port: gateway.port, question: { host: 'web.example.com' }, check });
}

async function scale(name: string, replicas: number): Promise<void> {
  await cluster.kubectl(['scale', 'deployment', name, `--replicas=${replicas}`]);
  await cluster.rolledOut('default', name);
}

function publications(): number {
  return gateway.log().match(/^causeway reloaded/gm)?.length ?? 0;
}
