/**
 * What the edge dials may die at any time, long before anybody says so: no request fails of it, and
 * none keeps waiting for what is dead.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AdminView } from './admin-view.ts';
import { Cluster, waitFor } from './cluster.ts';
import { GatewayProcess } from './gateway-process.ts';
import {
  applyAll,
  deployment,
  endpointSlice,
  ingress,
  nodePortService,
  outsideService,
  syncerKubeconfig,
} from './manifests.ts';
import { podsOf } from './pods-of.ts';
import type { RunningProcess } from './processes.ts';
import { answeredBy, Traffic } from './traffic.ts';
import { blockPort, connectCounter, unplug } from './wire.ts';

let cluster: Cluster;
let gateway: GatewayProcess;

beforeAll(async () => {
  cluster = await Cluster.start();
  const onNode1 = { node: 'node1', drainSeconds: 3 };
  await applyAll(
    cluster,
    outsideService('outside'),
    await endpointSlice(cluster, 'outside', ['10.0.0.21', '10.0.0.22']),
    // All pods on the first node: what happens to the others is a matter of the way there only.
    deployment('web', { ...onNode1, replicas: 2 }),
    nodePortService('web', { nodePort: 30_200 }),
    deployment('local', onNode1),
    nodePortService('local', { nodePort: 30_201, externalTrafficPolicy: 'Local' }),
    ...['outside', 'web', 'local'].map((it) => ingress(it, { [`${it}.example.com`]: { '/': it } })),
  );
  gateway = new GatewayProcess(cluster, { kubeconfig: await syncerKubeconfig(cluster) });
  await cluster.nodePort('default', 'web');
  await cluster.nodePort('default', 'local');
  await gateway.ready();
});

afterAll(() => cluster?.stop());

describe('two addresses outside the cluster', () => {
  let second: RunningProcess;
  let connectsToSecond: () => Promise<number>;

  beforeAll(async () => {
    await cluster.startEcho(8080, 'ext1', 'legacy');
    second = await cluster.startEcho(8080, 'ext2', 'legacy');
    connectsToSecond = await connectCounter(cluster, 'ext2', 8080);
    await gateway.serves('both', (it) => it.endpoints('default/outside/80').length === 2);
  });

  test('share the requests', async () => {
    const counts = new Map<string, number>();
    for (let n = 0; n < 100; n++) {
      const { echo } = await gateway.ask({ host: 'outside.example.com' });
      counts.set(echo?.pod ?? 'edge', (counts.get(echo?.pod ?? 'edge') ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual(['ext1', 'ext2']);
    // A fair coin falls fewer than 20 times of 100 once in a billion tries.
    expect(Math.min(...counts.values())).toBeGreaterThan(20);
  });

  test('one process dies: only what it was at work on fails, and hardly any asks it again', async () => {
    const traffic = outsideTraffic();
    try {
      await answered(100, traffic);
      second.signal('SIGKILL');
      await second.exited;
      await answered(100, traffic);
      const [before, failures] = [await connectsToSecond(), [...traffic.failures]];
      // What was sent may have been done, and is not sent twice.
      expect(failures.length).toBeLessThanOrEqual(OUTSIDE_CLIENTS);
      for (const each of failures) expect(each).toMatch(/: 502 edge,/);
      await answered(500, traffic);
      expect(traffic.failures).toEqual(failures);
      expect((await connectsToSecond()) - before).toBeLessThan(10);
    } finally {
      await traffic.stop();
    }
    second = await cluster.startEcho(8080, 'ext2', 'legacy');
    await waitFor('the second to be asked again', () => isAsked('ext2'));
  });

  test('one is cut off: no request fails, and hardly any waits for it', async () => {
    const traffic = outsideTraffic();
    let mend = async () => {};
    try {
      await answered(100, traffic);
      mend = await blockPort(cluster, 'ext2', 8080, 'DROP');
      const before = await connectsToSecond();
      await answered(800, traffic);
      // Each client waits for it once, and now and then nobody's attempt sees whether it is back.
      const attempts = ((await connectsToSecond()) - before) / CONNECTS_PER_ATTEMPT;
      expect(attempts).toBeLessThan(OUTSIDE_CLIENTS + 10);
    } finally {
      await mend();
      await traffic.stop();
    }
    expect(traffic.failures).toEqual([]);
    await waitFor('the second to be asked again', () => isAsked('ext2'));
  });

  test('both die: 502, and back as soon as one is back', async () => {
    const mend = await Promise.all(
      ['ext1', 'ext2'].map((host) => blockPort(cluster, host, 8080, 'REJECT')),
    );
    try {
      const { status, from, text } = await gateway.ask({ host: 'outside.example.com' });
      expect([status, from]).toEqual([502, 'edge']);
      expect(text).not.toMatch(/10\.0\.0|8080/);
    } finally {
      for (const each of mend) await each();
    }
    expect(await gateway.verdict('outside.example.com')).toBe('200 /legacy');
  });

  test('one is taken from the EndpointSlice and then ended: no request fails', async () => {
    const traffic = outsideTraffic();
    try {
      await applyAll(cluster, await endpointSlice(cluster, 'outside', ['10.0.0.21']));
      await gateway.serves('one', (it) => it.endpoints('default/outside/80').length === 1);
      // Those that were on their way to it by then have been answered after these.
      await answered(5 * OUTSIDE_CLIENTS, traffic);
      const before = await connectsToSecond();
      await second.stop(5_000);
      await answered(100, traffic);
      expect(await connectsToSecond()).toBe(before);
    } finally {
      await traffic.stop();
    }
    expect(traffic.failures).toEqual([]);
  });
});

describe('a node', () => {
  test('that is not ready is dialled no more, until it is', async () => {
    const traffic = webTraffic();
    try {
      await cluster.setNodeReady('node2', false);
      await gateway.serves('node1 only', (it) => areEndpoints(it, 'web', ['10.0.0.11:30200']));
      const connects = await connectCounter(cluster, 'node2', 30_200);
      await answered(50, traffic);
      expect(await connects()).toBe(0);
      await cluster.setNodeReady('node2', true);
      await gateway.serves('both', (it) => it.endpoints('default/web/80').length === 2);
      await waitFor('node2 to be dialled', async () => (await connects()) > 0);
    } finally {
      await traffic.stop();
    }
    expect(traffic.failures).toEqual([]);
  });

  test('that is dead before anybody says so costs no request', async () => {
    const traffic = webTraffic();
    let plugIn = async () => {};
    try {
      await answered(50, traffic);
      plugIn = await unplug(cluster, 'node2');
      await answered(500, traffic);
      await cluster.setNodeReady('node2', false);
      await gateway.serves('node1 only', (it) => areEndpoints(it, 'web', ['10.0.0.11:30200']));
    } finally {
      await plugIn();
      await traffic.stop();
    }
    expect(traffic.failures).toEqual([]);
    await cluster.setNodeReady('node2', true);
    await gateway.serves('both', (it) => it.endpoints('default/web/80').length === 2);
  });

  test('comes, loses its kube-proxy and goes: no request fails', async () => {
    const traffic = webTraffic();
    try {
      const { address } = await cluster.addNode();
      await gateway.serves('three', (it) => it.endpoints('default/web/80').length === 3);
      expect(await gateway.verdict('web.example.com')).toBe('200 default/web');
      const connects = await connectCounter(cluster, 'node3', 30_200);
      await waitFor('node3 to be dialled', async () => (await connects()) > 0);
      await endKubeProxy('node3');
      await answered(300, traffic);
      await cluster.removeNode('node3');
      await gateway.serves(
        'two',
        (it) => !it.endpoints('default/web/80').includes(`${address}:30200`),
      );
    } finally {
      await traffic.stop();
    }
    expect(traffic.failures).toEqual([]);
  });
});

describe('externalTrafficPolicy: Local', () => {
  test('only the node with the pod is dialled, and the pod sees who asks', async () => {
    await gateway.serves('node1', (it) => areEndpoints(it, 'local', ['10.0.0.11:30201']));
    const connects = await connectCounter(cluster, 'node2', 30_201);
    for (let n = 0; n < 20; n++) {
      const { from, echo } = await gateway.ask({ host: 'local.example.com' });
      expect([from, echo?.node, echo?.peer]).toEqual(['default/local', 'node1', '10.0.0.1']);
    }
    expect(await connects()).toBe(0);
  });

  test('the pod moves to another node: so does what is dialled, and no request fails', async () => {
    const traffic = Traffic.start({
      port: gateway.port,
      question: { host: 'local.example.com' },
      check: answeredBy('default/local'),
    });
    try {
      await applyAll(cluster, deployment('local', { node: 'node2', drainSeconds: 3 }));
      await cluster.rolledOut('default', 'local');
      await gateway.serves('node2', (it) => areEndpoints(it, 'local', ['10.0.0.12:30201']));
      await waitFor(
        'the old pod to be gone',
        async () => (await podsOf(cluster, 'local')).length === 1,
      );
      await answered(100, traffic);
    } finally {
      await traffic.stop();
    }
    expect(traffic.failures).toEqual([]);
    const { echo } = await gateway.ask({ host: 'local.example.com' });
    expect(echo?.node).toBe('node2');
  });
});

function areEndpoints(view: AdminView, service: string, expected: readonly string[]): boolean {
  return view.endpoints(`default/${service}/80`).join() === expected.join();
}

/** Waits until `count` more requests were answered. */
async function answered(count: number, traffic: Traffic): Promise<void> {
  const end = traffic.count + count;
  await waitFor(`${count} requests`, () => traffic.count >= end);
}

const OUTSIDE_CLIENTS = 10;

/** In the three seconds that the edge gives it, an attempt that is not answered is sent this often. */
const CONNECTS_PER_ATTEMPT = 2;

/** Many clients, so that many would wait. With a body, which must not be lost where nobody takes it. */
function outsideTraffic(): Traffic {
  const body = 'x'.repeat(10_000);
  return Traffic.start({
    port: gateway.port,
    clients: OUTSIDE_CLIENTS,
    question: { host: 'outside.example.com', body },
    check: (answer) => {
      const bytes = answer.echo?.bodyBytes;
      return answeredBy('/legacy')(answer) ?? (bytes === body.length ? null : `${bytes} bytes`);
    },
  });
}

function webTraffic(): Traffic {
  const question = { host: 'web.example.com' };
  const check = answeredBy('default/web');
  return Traffic.start({ port: gateway.port, clients: 5, question, check });
}

async function isAsked(pod: string): Promise<boolean> {
  const { echo } = await gateway.ask({ host: 'outside.example.com' });
  return echo?.pod === pod;
}

/** Ends a node's kube-proxy, and its rules with it: the node then refuses all connections. */
async function endKubeProxy(node: string): Promise<void> {
  const listening = await cluster.exec(node, ['ss', '-Hltnp', 'sport = 10256']);
  const pid = Number(/pid=(\d+)/.exec(listening)?.[1]);
  expect(pid).toBeGreaterThan(1);
  process.kill(pid, 'SIGKILL');
  await cluster.exec(node, ['iptables', '-w', '-t', 'nat', '-F', 'KUBE-SERVICES']);
}
