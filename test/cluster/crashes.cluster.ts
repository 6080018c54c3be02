/** What crashes does not take along what it only feeds: the edge serves the last that it knew. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cluster, waitFor } from './cluster.ts';
import { currentEdge, ip } from './edge.ts';
import { GatewayProcess } from './gateway-process.ts';
import { applyAll, deployment, ingress, nodePortService, syncerKubeconfig } from './manifests.ts';
import { answeredBy, Traffic } from './traffic.ts';

let cluster: Cluster;
let kubeconfig: string;
let gateway: GatewayProcess;

const PORT = 8787;

beforeAll(async () => {
  cluster = await Cluster.start();
  await applyAll(
    cluster,
    deployment('web', { replicas: 2 }),
    nodePortService('web'),
    ingress('web', { 'web.example.com': { '/': 'web' } }),
  );
  kubeconfig = await syncerKubeconfig(cluster);
  await cluster.nodePort('default', 'web');
});

afterAll(() => cluster?.stop());

test('a gateway that starts before the API server waits for it, and publishes nothing', async () => {
  await cluster.killApiServer();
  gateway = new GatewayProcess(cluster, { kubeconfig, port: PORT });
  const first = await waitFor('the front', () => gateway.ask({ host: 'web.example.com' }));
  expect([first.status, first.from]).toEqual([503, 'edge']);
  const version = await gateway.version();
  expect(version).toBeNull();
  await waitFor('the gateway to say why', () => /cannot list services/.test(gateway.log()));
  expect(gateway.isReady()).toBe(false);

  await cluster.startApiServer();
  await gateway.ready();
  // Nothing half: what it published first was everything.
  expect(await gateway.verdict('web.example.com')).toBe('200 default/web');
  expect(gateway.log()).toMatch(/^causeway ready .* routes=1 /m);
});

test('an API server that crashes is not missed, and followed when it is back', async () => {
  const traffic = webTraffic();
  try {
    await cluster.killApiServer();
    const atLeast = traffic.count + 100;
    await waitFor('a hundred requests without it', () => traffic.count > atLeast);
    await cluster.startApiServer();
    // At once, before the gateway has found its way back.
    await applyAll(cluster, ingress('new', { 'new.example.com': { '/': 'web' } }));
    await gateway.serves('what came after', (it) => it.hosts.includes('new.example.com'));
    expect(await gateway.verdict('new.example.com')).toBe('200 default/web');
    await cluster.kubectl(['delete', 'ingress', 'new']);
    await gateway.serves('what went after', (it) => !it.hosts.includes('new.example.com'));
    expect(await gateway.verdict('new.example.com')).toBe('404 edge');
  } finally {
    await traffic.stop();
  }
  expect(traffic.failures).toEqual([]);
  expect(gateway.log()).not.toContain('mended');
});

test('twice in a row, with a change lost in between', async () => {
  const traffic = webTraffic();
  try {
    await cluster.killApiServer();
    await cluster.startApiServer();
    await applyAll(cluster, ingress('twice', { 'twice.example.com': { '/': 'web' } }));
    await cluster.killApiServer();
    await cluster.startApiServer();
    await gateway.serves('the change', (it) => it.hosts.includes('twice.example.com'));
    await cluster.kubectl(['delete', 'ingress', 'twice']);
    await gateway.serves('the old', (it) => !it.hosts.includes('twice.example.com'));
  } finally {
    await traffic.stop();
  }
  expect(traffic.failures).toEqual([]);
});

test('started again it serves at once what it served, and then follows', async () => {
  await cluster.killApiServer();
  await gateway.kill();
  const { persist } = gateway;
  gateway = new GatewayProcess(cluster, { kubeconfig, port: PORT, persist });
  // The very first answer of the new process, and there is no API server to ask.
  const first = await waitFor('an answer', () => gateway.ask({ host: 'web.example.com' }));
  expect([first.status, first.from]).toEqual([200, 'default/web']);
  expect(await gateway.verdict('nobody.example.com')).toBe('404 edge');
  expect(gateway.isReady()).toBe(false);

  await cluster.startApiServer();
  await gateway.ready();
  await applyAll(cluster, ingress('late', { 'late.example.com': { '/': 'web' } }));
  await gateway.serves('what is new', (it) => it.hosts.includes('late.example.com'));
  expect(await gateway.verdict('late.example.com')).toBe('200 default/web');
});

test('what went while it was away is gone', async () => {
  const { persist } = gateway;
  await gateway.kill();
  await cluster.kubectl(['delete', 'ingress', 'late']);
  gateway = new GatewayProcess(cluster, { kubeconfig, port: PORT, persist });
  await gateway.ready();
  expect(await gateway.verdict('late.example.com')).toBe('404 edge');
  expect(await gateway.verdict('web.example.com')).toBe('200 default/web');
});

test('killed in the middle of publishing, again and again, it comes back with the whole', async () => {
  const { persist } = gateway;
  // Anywhere between the watch and the pointer, which take about half a second.
  for (const delayMs of [100, 300, 500]) {
    const host = `after-${delayMs}.example.com`;
    await applyAll(cluster, ingress('crash', { [host]: { '/': 'web' } }));
    await delay(delayMs);
    await gateway.kill();
    gateway = new GatewayProcess(cluster, { kubeconfig, port: PORT, persist });
    const first = await waitFor('an answer', () => gateway.ask({ host: 'web.example.com' }));
    expect([first.status, first.from]).toEqual([200, 'default/web']);
    await gateway.ready();
    expect(await gateway.verdict(host)).toBe('200 default/web');
  }
});

test('asked to end, it ends in order and leaves nothing running', async () => {
  const before = runningWorkerds();
  expect(await gateway.stop()).toBe(0);
  // Those whose gateway was killed run on.
  expect(runningWorkerds()).toBe(before - 1);
});

test('asked to end while it waits for the API server, it ends as well', async () => {
  await cluster.killApiServer();
  const before = runningWorkerds();
  gateway = new GatewayProcess(cluster, { kubeconfig, port: PORT });
  await waitFor('the front', () => gateway.ask({ host: 'web.example.com' }));
  expect(await gateway.stop()).toBe(0);
  expect(runningWorkerds()).toBe(before);
});

function webTraffic(): Traffic {
  const question = { host: 'web.example.com' };
  return Traffic.start({ port: gateway.port, question, check: answeredBy('default/web') });
}

function runningWorkerds(): number {
  const pids = ip(['netns', 'pids', `${currentEdge().prefix}-edge`])
    .split('\n')
    .filter(Boolean);
  return pids.filter((pid) => nameOf(pid) === 'workerd').length;
}

function nameOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    // It ended in the meantime.
    return '';
  }
}
