/**
 * What applications see of the requests that reach them, through front, worker and kube-proxy; with the
 * manifests under examples/ as they stand, the oldest of them of extensions/v1beta1.
 */
import { on, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { parse } from 'yaml';
import type { Answer, Question } from './ask.ts';
import { Cluster } from './cluster.ts';
import type { EchoAnswer } from './echo-server.ts';
import { GatewayProcess } from './gateway-process.ts';
import { applyAll, deployment, namespace, syncerKubeconfig } from './manifests.ts';

let cluster: Cluster;
let gateway: GatewayProcess;
/** Kubernetes 1.22 dropped extensions/v1beta1. */
let servesOldIngresses = false;

beforeAll(async () => {
  cluster = await Cluster.start();
  const oldGroup = cluster.api.get('/apis/extensions/v1beta1');
  servesOldIngresses = await oldGroup.then(
    () => true,
    () => false,
  );
  await applyAll(
    cluster,
    ...['shop-web', 'shop-api'].map(namespace),
    ...['test', 'service1', 'service2'].map((name) => deployment(name)),
    deployment('storefront', { namespace: 'shop-web', port: 80 }),
    deployment('orders', { namespace: 'shop-api', port: 80 }),
  );
  await applyExamples('services', 'ingress-class.yaml', 'two-namespaces');
  if (servesOldIngresses) {
    await applyExamples('simple-ingress', 'host-ingress', 'path-ingress', 'tls-ingress');
  }
  await cluster.apply(currentIngresses);
  const kubeconfig = await syncerKubeconfig(cluster);
  gateway = new GatewayProcess(cluster, { kubeconfig, flags: ['--host', '0.0.0.0'] });
  for (const [space, name] of backends) await cluster.nodePort(space, name);
  await gateway.ready();
  await gateway.serves('all Services', (view) =>
    backends.every(
      ([space, name, port]) => view.endpoints(`${space}/${name}/${port}`).length === 2,
    ),
  );
});

afterAll(() => cluster?.stop());

const backends = [
  ['default', 'test', 8080],
  ['default', 'service1', 8080],
  ['default', 'service2', 8080],
  ['shop-web', 'storefront', 80],
  ['shop-api', 'orders', 80],
] as const;

/** All that networking.k8s.io/v1 has for paths and ports, on a host of its own. */
const currentIngresses = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: current, namespace: default }
spec:
  ingressClassName: causeway
  defaultBackend: { service: { name: test, port: { number: 8080 } } }
  rules:
    - host: current.example.com
      http:
        paths:
          - { path: /exact, pathType: Exact, backend: { service: { name: service1, port: { number: 8080 } } } }
          - { path: /deep, pathType: Prefix, backend: { service: { name: service1, port: { number: 8080 } } } }
          - { path: /deep/er/, pathType: Prefix, backend: { service: { name: service2, port: { number: 8080 } } } }
          - { path: /own, pathType: ImplementationSpecific, backend: { service: { name: service2, port: { number: 8080 } } } }
    - host: "*.wild.example.com"
      http:
        paths:
          - { path: /, pathType: Prefix, backend: { service: { name: service2, port: { number: 8080 } } } }
`;

/** PEM: the certificate of the example, which nobody but itself vouches for. */
function exampleCertificate(): string {
  const file = fileURLToPath(new URL('../../examples/tls-ingress/secret.yaml', import.meta.url));
  const { data } = parse(readFileSync(file, 'utf8')) as { data: { 'tls.crt': string } };
  return Buffer.from(data['tls.crt'], 'base64').toString();
}

describe('the manifests of old, as they stand', () => {
  const cases = [
    ['example.com', '/', 'default/test'],
    ['example.com', '/a', 'default/service1'],
    ['example.com', '/a/', 'default/service1'],
    ['example.com', '/a/x?y=%2F&y=2', 'default/service1'],
    ['example.com', '/a/%7Ex%2Fy//z', 'default/service1'],
    ['example.com', '/ax', 'default/test'],
    ['example.com', '/b', 'default/service2'],
    ['example.com', '/b/', 'default/service2'],
    ['example.com', '/b/x/y/z', 'default/service2'],
    ['EXAMPLE.com:8080', '/a/x', 'default/service1'],
    ['any.other.example', '/anything', 'default/test'],
  ] as const;

  // One of them is for https, and so the host as a whole is.
  const isTls = (host: string) => host.toLowerCase().startsWith('example.com');

  test.for(cases)('%s%s is answered by %s', async ([host, path, service], { skip }) => {
    skip(!servesOldIngresses);
    if (isTls(host)) {
      const { status, headers } = await gateway.ask({ host, path });
      const [, authority, rest] = /^https:\/\/([^/]+)(.*)$/.exec(headers.location ?? '') ?? [];
      const there = `example.com:${gateway.httpsPort}`;
      expect([status, authority?.toLowerCase(), rest]).toEqual([308, there, path]);
    }
    const answer = await gateway.ask({
      host,
      path,
      ...(isTls(host) && { ca: exampleCertificate() }),
    });
    expect([answer.status, answer.from]).toEqual([200, service]);
    expect(answer.echo).toMatchObject({ path, method: 'GET', headers: { host } });
  });

  test('nothing is wrong with them', async () => {
    // That 10.0.0.0/8 is not for Cloudflare's network is said of every Service here.
    await gateway.serves('no other problem', ({ problems }) =>
      problems.every((each) => each.startsWith('EndpointNotPublic ')),
    );
  });
});

describe('networking.k8s.io/v1', () => {
  test.each([
    ['current.example.com', '/exact', 'default/service1'],
    ['current.example.com', '/exact/', 'default/test'],
    ['current.example.com', '/deep/e', 'default/service1'],
    ['current.example.com', '/deep/er', 'default/service2'],
    ['current.example.com', '/deep/er/x', 'default/service2'],
    ['current.example.com', '/deeper', 'default/test'],
    ['current.example.com', '/own/x', 'default/service2'],
    ['one.wild.example.com', '/x', 'default/service2'],
    ['shop.example.com', '/', 'shop-web/storefront'],
    ['shop.example.com', '/api/orders', 'shop-api/orders'],
    ['shop.example.com', '/api/orders/7', 'shop-api/orders'],
    ['shop.example.com', '/api/orderss', 'shop-web/storefront'],
  ] as const)('http://%s%s is answered by %s', async (host, path, service) => {
    const answer = await gateway.ask({ host, path });
    expect([answer.status, answer.from, answer.echo?.path]).toEqual([200, service, path]);
  });
});

describe('headers', () => {
  test('tell who asked for what, and lead to the log', async () => {
    const { answer, echo } = await askShop({ headers: { 'user-agent': 'me', cookie: 'a=b; c=d' } });
    expect(echo.headers).toMatchObject({
      host: 'shop.example.com',
      'user-agent': 'me',
      cookie: 'a=b; c=d',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-host': 'shop.example.com',
      'x-forwarded-proto': 'http',
      'x-forwarded-port': '80',
      'x-real-ip': '127.0.0.1',
    });
    expect(echo.headers['x-request-id']).toMatch(/^[0-9a-f]{32}$/);
    expect(answer.headers['x-request-id']).toBe(echo.headers['x-request-id']);
    expect(echo.headers.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-9a-f]$/);
  });

  test('of a client that says it is somebody else are dropped', async () => {
    const lies = {
      'x-forwarded-for': '198.51.100.66',
      'x-forwarded-host': 'lies.example',
      'x-forwarded-proto': 'https',
      'x-forwarded-port': '66',
      'x-forwarded-user': 'root',
      'x-real-ip': '198.51.100.66',
      'x-request-id': 'lies',
      'cf-connecting-ip': '198.51.100.66',
      'true-client-ip': '198.51.100.66',
      forwarded: 'for=198.51.100.66;host=lies.example',
      traceparent: '00-66666666666666666666666666666666-6666666666666666-01',
      tracestate: 'lies=1',
      proxy: 'http://198.51.100.66',
    };
    const { echo } = await askShop({ headers: { ...lies, 'x-mine': 'kept' } });
    const received = JSON.stringify(echo.headers);
    expect(received).not.toMatch(/198\.51\.100\.66|lies|root|6{8}/);
    expect(echo.headers).toMatchObject({ 'x-mine': 'kept', 'x-forwarded-for': '127.0.0.1' });
  });

  test('of one connection only go no further', async () => {
    const hop = { connection: 'close, x-hop', 'x-hop': '1', 'keep-alive': 'timeout=5', te: 'gzip' };
    const { echo } = await askShop({ headers: { ...hop, 'proxy-authorization': 'Basic eA==' } });
    const names = Object.keys(echo.headers);
    for (const name of ['x-hop', 'keep-alive', 'te', 'proxy-authorization']) {
      expect(names).not.toContain(name);
    }
  });

  test('name the real client, who is another host', async () => {
    const script = `
      const headers = { host: 'shop.example.com' };
      require('node:http').get({ host: '10.0.0.1', port: ${gateway.port}, headers }, (response) => {
        response.pipe(process.stdout);
      });`;
    const output = await cluster.exec('ext1', [process.execPath, '--eval', script]);
    const { headers } = JSON.parse(output) as EchoAnswer;
    expect(headers).toMatchObject({ 'x-forwarded-for': '10.0.0.21', 'x-real-ip': '10.0.0.21' });
  });
});

describe('bodies', () => {
  test('of known length', async () => {
    const { echo } = await askShop({ body: 'x'.repeat(1_000_000) });
    expect(echo).toMatchObject({ method: 'POST', bodyBytes: 1_000_000 });
    expect(echo.headers).toMatchObject({ 'content-length': '1000000' });
    expect(echo.headers).not.toHaveProperty('transfer-encoding');
  });

  test('chunked', async () => {
    const chunks = Array.from({ length: 200 }, (_, n) => String(n % 10).repeat(5_000));
    const { echo } = await askShop({ method: 'PUT', body: chunks });
    expect(echo).toMatchObject({ method: 'PUT', bodyBytes: 1_000_000 });
    expect(echo.headers).toMatchObject({ 'transfer-encoding': 'chunked' });
    expect(echo.headers).not.toHaveProperty('content-length');
  });

  test('empty', async () => {
    const { echo } = await askShop({ body: '' });
    expect(echo).toMatchObject({ method: 'POST', bodyBytes: 0 });
    expect(echo.headers).toMatchObject({ 'content-length': '0' });
  });

  test('none: HEAD is answered without one and with the length', async () => {
    const { status, headers, text } = await gateway.ask({ ...shop, method: 'HEAD' });
    expect([status, text]).toEqual([200, '']);
    expect(Number(headers['content-length'])).toBeGreaterThan(100);
  });
});

test('a WebSocket to a pod', async () => {
  const url = `ws://127.0.0.1:${gateway.port}/api/orders/live?x=1`;
  const socket = new WebSocket(url, { headers: { host: 'shop.example.com' } });
  try {
    const messages = on(socket, 'message');
    const next = async () => String((await messages.next()).value?.[0]);
    const { namespace, service, path, headers } = JSON.parse(await next()) as EchoAnswer;
    expect({ namespace, service, path }).toEqual({
      namespace: 'shop-api',
      service: 'orders',
      path: '/api/orders/live?x=1',
    });
    expect(headers).toMatchObject({ host: 'shop.example.com', 'x-forwarded-for': '127.0.0.1' });
    const said = ['one', 'two', 'x'.repeat(100_000)];
    for (const message of said) socket.send(message);
    expect([await next(), await next(), await next()]).toEqual(said);
    socket.close(4000, 'enough');
    expect(await once(socket, 'close')).toEqual([4000, Buffer.from('enough')]);
  } finally {
    socket.terminate();
  }
});

test.each([204, 301, 404, 418, 500, 503])('an application may answer %i', async (code) => {
  const answer = await gateway.ask({ ...shop, headers: { 'x-echo-status': String(code) } });
  expect(answer.status).toBe(code);
  if (code !== 204) expect(answer.from).toBe('shop-web/storefront');
});

test('the node ports are those of Kubernetes, on both nodes', async () => {
  const seen = new Set<string>();
  // Drawn at random: one of two nodes missing in 40 draws is as likely as one in 10^12.
  for (let n = 0; n < 40; n++) seen.add((await askShop({})).echo.peer);
  // kube-proxy says that the node asks, except on the node where the pod is.
  expect(seen.size).toBeGreaterThan(1);
});

const shop: Question = { host: 'shop.example.com' };

async function askShop(question: Partial<Question>): Promise<{ answer: Answer; echo: EchoAnswer }> {
  const answer = await gateway.ask({ ...shop, ...question });
  expect([answer.status, answer.from]).toEqual([200, 'shop-web/storefront']);
  if (!answer.echo) throw new Error('the edge answered');
  return { answer, echo: answer.echo };
}

async function applyExamples(...names: string[]): Promise<void> {
  for (const name of names) {
    const path = fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));
    await cluster.kubectl(['apply', '-f', path]);
  }
}
