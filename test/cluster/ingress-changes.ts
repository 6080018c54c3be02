import { expect, test } from 'vitest';
import type { Cluster } from './cluster.ts';
import type { GatewayProcess } from './gateway-process.ts';
import { applyAll, ingress, ingressClass } from './manifests.ts';
import { answeredByOneOf, Traffic } from './traffic.ts';

/** Where the Services `web` and `stable` of the namespace `default`, and `other` of `other`, are served. */
type Place = () => { cluster: Cluster; gateway: GatewayProcess };

/** The tests of what may happen to an Ingress. */
export function ingressChanges(at: Place): void {
  test('comes, changes its host, and goes', async () => {
    const { cluster, gateway } = at();
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
    const { cluster, gateway } = at();
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
    const { cluster, gateway } = at();
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
    const { cluster, gateway } = at();
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
    const isConflict = (problem: string) => problem.startsWith('RouteConflict');
    await gateway.serves(
      'the newer, without a conflict',
      (it) => it.upstream(host) === 'other/other/80' && !it.problems.some(isConflict),
    );
    expect(await gateway.verdict(host)).toBe('200 other/other');
    await cluster.kubectl(['delete', 'ingress', 'newer', '--namespace=other']);
  });

  test('with a mistake is told so, and hurts nobody else', async () => {
    const { cluster, gateway } = at();
    const wrong = ingress('wrong', { 'wrong.example.com': { '/': 'web', '/no': 'nobody' } });
    await applyAll(cluster, wrong);
    await gateway.serves('the problem', (it) =>
      it.hasProblem('ServiceNotFound Ingress default/wrong'),
    );
    expect(await gateway.verdict('wrong.example.com')).toBe('200 default/web');
    expect(await gateway.verdict('wrong.example.com', '/no')).toBe('503 edge');
    await cluster.kubectl(['delete', 'ingress', 'wrong']);
  });
}

/** The tests of what may happen to an IngressClass. */
export function ingressClassChanges(at: Place): void {
  const host = 'class.example.com';

  test('of another controller: its Ingresses are not ours, until they change theirs', async () => {
    const { cluster, gateway } = at();
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
    const { cluster, gateway } = at();
    await cluster.kubectl(['delete', 'ingressclass', 'ours']);
    await gateway.serves('no such class', (it) => !it.hosts.includes(host));
    expect(await gateway.verdict(host)).toBe('404 edge');
    await applyAll(cluster, ingressClass('ours', 'causeway.dev/ingress-controller'));
    await gateway.serves('our class', (it) => it.hosts.includes(host));
    expect(await gateway.verdict(host)).toBe('200 default/web');
    await cluster.kubectl(['delete', 'ingress', 'classy', 'marker']);
  });
}
