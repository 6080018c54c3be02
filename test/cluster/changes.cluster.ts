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
import {
  applyAll,
  deployment,
  ingress,
  ingressClass,
  type Manifest,
  namespace,
  nodePortService,
  syncerKubeconfig,
} from './manifests.ts';
import type { List, Pod } from './objects.ts';
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
      await waitFor('the other pods to be gone', async () => (await podsOf('web')).length === 1);
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
    const view = await gateway.serves('web', (it) => it.endpoints('default/web/80').length === 2);
    expect(view.hasProblem('NoEndpoints Service default/web')).toBe(false);
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
      clusterService('inside'),
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

describe('an Ingress', () => {
  test('comes, changes its host, and goes', async () => {
    expect(await gateway.verdict('first.example.com')).toBe('404 edge');
    await applyAll(cluster, ingress('mobile', { 'first.example.com': { '/': 'web' } }));
    await gateway.serves('the first host', (it) => it.upstream('first.example.com') !== undefined);
    expect(await gateway.verdict('first.example.com')).toBe('200 default/web');

    await applyAll(cluster, ingress('mobile', { 'second.example.com': { '/': 'web' } }));
    await gateway.serves('the second host', (it) => it.hosts.includes('second.example.com'));
    expect(await gateway.verdict('second.example.com')).toBe('200 default/web');
    expect(await gateway.verdict('first.example.com')).toBe('404 edge');

    await cluster.kubectl(['delete', 'ingress', 'mobile']);
    await gateway.serves('neither host', (it) => !it.hosts.includes('second.example.com'));
    expect(await gateway.verdict('second.example.com')).toBe('404 edge');
  });

  test('may change its Service: each answer is of the one or the other', async () => {
    await applyAll(cluster, ingress('swap', { 'swap.example.com': { '/': 'web' } }));
    await gateway.serves('swap', (it) => it.hosts.includes('swap.example.com'));
    const isEither = answeredByOneOf('default/web', 'default/stable');
    const traffic = Traffic.start({
      port: gateway.port,
      question: { host: 'swap.example.com' },
      check: isEither,
    });
    try {
      for (const service of ['stable', 'web', 'stable']) {
        await applyAll(cluster, ingress('swap', { 'swap.example.com': { '/': service } }));
        const upstream = `default/${service}/80`;
        await gateway.serves(service, (it) => it.upstream('swap.example.com') === upstream);
        expect(await gateway.verdict('swap.example.com')).toBe(`200 default/${service}`);
      }
    } finally {
      await traffic.stop();
    }
    expect(traffic.failures).toEqual([]);
    await cluster.kubectl(['delete', 'ingress', 'swap']);
  });

  test('of another namespace adds paths to a host and takes them away again', async () => {
    const host = 'shared.example.com';
    await applyAll(cluster, ingress('front', { [host]: { '/': 'web' } }));
    await gateway.serves('the host', (it) => it.upstream(host) !== undefined);
    const api = ingress('api', { [host]: { '/api': 'other' } }, { namespace: 'other' });
    await applyAll(cluster, api);
    await gateway.serves('both', (it) => it.upstream(host, '/api') !== undefined);
    expect(await gateway.verdict(host, '/api/x')).toBe('200 other/other');
    expect(await gateway.verdict(host, '/apix')).toBe('200 default/web');
    await cluster.kubectl(['delete', 'ingress', 'front']);
    await gateway.serves('the rest', (it) => it.upstream(host) === undefined);
    expect(await gateway.verdict(host, '/api/x')).toBe('200 other/other');
    expect(await gateway.verdict(host, '/apix')).toBe('404 edge');
    await cluster.kubectl(['delete', 'ingress', 'api', '--namespace=other']);
  });

  test('that asks for what an older one has loses, and is told so', async () => {
    const host = 'contested.example.com';
    // Kubernetes counts in seconds; between equals the namespace decides, and `other` is after `default`.
    await applyAll(cluster, ingress('older', { [host]: { '/': 'web' } }));
    await gateway.serves('the older', (it) => it.upstream(host) === 'default/web/80');
    const rival = { [host]: { '/': 'other', '/mine': 'other' } };
    await applyAll(cluster, ingress('newer', rival, { namespace: 'other' }));
    const view = await gateway.serves('the conflict', (it) =>
      it.hasProblem('RouteConflict Ingress other/newer'),
    );
    expect(view.problems.find((each) => each.includes('other/newer'))).toContain('default/older');
    expect(view.hasProblem('RouteConflictWon Ingress default/older')).toBe(true);
    expect(await gateway.verdict(host)).toBe('200 default/web');
    expect(await gateway.verdict(host, '/mine')).toBe('200 other/other');
    await cluster.kubectl(['delete', 'ingress', 'older']);
    const after = await gateway.serves('the newer', (it) => it.upstream(host) === 'other/other/80');
    expect(await gateway.verdict(host)).toBe('200 other/other');
    expect(after.problems.filter((each) => each.startsWith('RouteConflict'))).toEqual([]);
    await cluster.kubectl(['delete', 'ingress', 'newer', '--namespace=other']);
  });

  test('with a mistake is told so, and hurts nobody else', async () => {
    const wrong = ingress('wrong', { 'wrong.example.com': { '/': 'web', '/no': 'nobody' } });
    await applyAll(cluster, wrong);
    await gateway.serves('the problem', (it) =>
      it.hasProblem('ServiceNotFound Ingress default/wrong'),
    );
    expect(await gateway.verdict('wrong.example.com')).toBe('200 default/web');
    expect(await gateway.verdict('wrong.example.com', '/no')).toBe('503 edge');
    await cluster.kubectl(['delete', 'ingress', 'wrong']);
  });
});

describe('an IngressClass', () => {
  const host = 'class.example.com';

  test('of another controller: its Ingresses are not ours, until they change theirs', async () => {
    await applyAll(
      cluster,
      ingressClass('nginx', 'k8s.io/ingress-nginx'),
      ingressClass('ours', 'causeway.dev/ingress-controller'),
      ingress('classy', { [host]: { '/': 'web' } }, { className: 'nginx' }),
      ingress('marker', { 'marker.example.com': { '/': 'web' } }),
    );
    // Applied after it: when the edge serves this one, it has seen the other.
    await gateway.serves('a later Ingress', (it) => it.hosts.includes('marker.example.com'));
    expect(await gateway.verdict(host)).toBe('404 edge');
    await applyAll(cluster, ingress('classy', { [host]: { '/': 'web' } }, { className: 'ours' }));
    await gateway.serves('our class', (it) => it.hosts.includes(host));
    expect(await gateway.verdict(host)).toBe('200 default/web');
  });

  test('that goes takes its Ingresses along, and brings them back', async () => {
    await cluster.kubectl(['delete', 'ingressclass', 'ours']);
    await gateway.serves('no such class', (it) => !it.hosts.includes(host));
    expect(await gateway.verdict(host)).toBe('404 edge');
    await applyAll(cluster, ingressClass('ours', 'causeway.dev/ingress-controller'));
    await gateway.serves('our class', (it) => it.hosts.includes(host));
    expect(await gateway.verdict(host)).toBe('200 default/web');
    await cluster.kubectl(['delete', 'ingress', 'classy', 'marker']);
  });
});

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

function answeredByOneOf(...services: string[]): ReturnType<typeof answeredBy> {
  return ({ status, from, text }) =>
    status === 200 && services.includes(from) ? null : `${status} ${from}: ${text}`;
}

async function scale(name: string, replicas: number): Promise<void> {
  await cluster.kubectl(['scale', 'deployment', name, `--replicas=${replicas}`]);
  await cluster.rolledOut('default', name);
}

async function podsOf(app: string): Promise<Pod[]> {
  const path = `/api/v1/namespaces/default/pods?labelSelector=app%3D${app}`;
  return (await cluster.api.get<List<Pod>>(path)).items;
}

function clusterService(name: string): Manifest {
  const ports = [{ port: 80, protocol: 'TCP' }];
  return { ...nodePortService(name), spec: { selector: { app: name }, ports } };
}

function publications(): number {
  return gateway.log().match(/^causeway reloaded/gm)?.length ?? 0;
}
