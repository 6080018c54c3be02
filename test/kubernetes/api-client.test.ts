import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createProxy, type RequestListener } from 'node:http';
import { createServer, type Server, type ServerOptions } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { KubeConfig } from '@kubernetes/client-node';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { ApiClient } from '../../syncer/kubernetes/api-client.ts';
import { loadKubeConfig } from '../../syncer/kubernetes/kube-config.ts';

let dir: string;
let servers: Server[] = [];
let clients: ApiClient[] = [];

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'causeway-tls-'));
  for (const name of ['ca', 'other-ca']) authority(name);
  certificate('server', 'ca', 'subjectAltName=IP:127.0.0.1');
  certificate('client', 'ca', 'extendedKeyUsage=clientAuth');
});

afterEach(async () => {
  for (const client of clients) client.close();
  clients = [];
  for (const server of servers) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  servers = [];
  vi.useRealTimers();
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

const file = (name: string) => join(dir, name);
const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' });
const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

function authority(name: string): void {
  const out = ['-keyout', `${name}.key`, '-out', `${name}.crt`];
  openssl('req', '-x509', ...newKey, ...out, '-subj', `/CN=${name}`, '-days', '2');
}

function certificate(name: string, ca: string, extension: string): void {
  const out = ['-keyout', `${name}.key`, '-out', `${name}.csr`];
  openssl('req', ...newKey, ...out, '-subj', `/CN=${name}`, '-addext', extension);
  const signer = ['-CA', `${ca}.crt`, '-CAkey', `${ca}.key`, '-CAcreateserial'];
  const from = ['-req', '-in', `${name}.csr`, '-copy_extensions', 'copy'];
  openssl('x509', ...from, ...signer, '-out', `${name}.crt`, '-days', '2');
}

async function listen(handler: RequestListener, options: ServerOptions = {}): Promise<string> {
  const tls = { key: readFileSync(file('server.key')), cert: readFileSync(file('server.crt')) };
  const server = createServer({ ...tls, ...options }, handler);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function clientOf(kubeConfig: KubeConfig): ApiClient {
  const client = new ApiClient(kubeConfig);
  clients.push(client);
  return client;
}

function kubeconfigFile(server: string, cluster: object, user: object): string {
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server, ...cluster } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
  writeFileSync(file('kubeconfig'), JSON.stringify(config));
  return file('kubeconfig');
}

function get(client: ApiClient, path = '/api/v1/nodes'): Promise<unknown> {
  const { signal } = new AbortController();
  return client.get({ path, query: { limit: '1' }, signal, silenceMs: 5000 });
}

/** Answers with what it was asked. */
const echo: RequestListener = (request, response) => {
  const { subject } = (request.socket as TLSSocket).getPeerCertificate();
  const { authorization = null } = request.headers;
  response.end(JSON.stringify({ url: request.url, authorization, name: subject?.CN ?? null }));
};

describe('TLS', () => {
  test('trusts the private authority of the kubeconfig, by file or by data', async () => {
    const server = await listen(echo);
    const data = readFileSync(file('ca.crt')).toString('base64');
    const clusters = [
      { 'certificate-authority': 'ca.crt' },
      { 'certificate-authority-data': data },
    ];
    for (const cluster of clusters) {
      const client = clientOf(loadKubeConfig(kubeconfigFile(server, cluster, { token: 't' })));
      expect(await get(client)).toEqual({
        url: '/api/v1/nodes?limit=1',
        authorization: 'Bearer t',
        name: null,
      });
    }
  });

  test.each([
    ['another authority', { 'certificate-authority': 'other-ca.crt' }],
    ['none', {}],
  ])('refuses a server with %s', async (_, cluster) => {
    const server = await listen(echo);
    const client = clientOf(loadKubeConfig(kubeconfigFile(server, cluster, { token: 't' })));
    await expect(get(client)).rejects.toThrow(/certificate/);
  });

  test('shows a client certificate', async () => {
    const ca = readFileSync(file('ca.crt'));
    const server = await listen(echo, { ca, requestCert: true, rejectUnauthorized: true });
    const cluster = { 'certificate-authority': 'ca.crt' };
    const user = { 'client-certificate': 'client.crt', 'client-key': 'client.key' };
    const client = clientOf(loadKubeConfig(kubeconfigFile(server, cluster, user)));
    expect(await get(client)).toMatchObject({ name: 'client' });
    const stranger = clientOf(loadKubeConfig(kubeconfigFile(server, cluster, { token: 't' })));
    await expect(get(stranger)).rejects.toThrow();
  });

  test('takes a new authority without a restart', async () => {
    const server = await listen(echo);
    writeFileSync(file('bundle.crt'), readFileSync(file('other-ca.crt')));
    const cluster = { 'certificate-authority': 'bundle.crt' };
    const client = clientOf(loadKubeConfig(kubeconfigFile(server, cluster, { token: 't' })));
    await expect(get(client)).rejects.toThrow(/certificate/);
    writeFileSync(file('bundle.crt'), readFileSync(file('ca.crt')));
    expect(await get(client)).toMatchObject({ authorization: 'Bearer t' });
  });
});

describe('credentials', () => {
  test('in a cluster: a token that rotates is read again within a minute', async () => {
    const server = new URL(await listen(echo));
    const root = file('pod');
    const account = join(root, 'var/run/secrets/kubernetes.io/serviceaccount');
    mkdirSync(account, { recursive: true });
    writeFileSync(join(account, 'ca.crt'), readFileSync(file('ca.crt')));
    writeFileSync(join(account, 'token'), 'first\n');
    const kubeConfig = new KubeConfig();
    vi.stubEnv('KUBERNETES_SERVICE_HOST', server.hostname);
    vi.stubEnv('KUBERNETES_SERVICE_PORT', server.port);
    kubeConfig.loadFromCluster(root);
    vi.unstubAllEnvs();
    const client = clientOf(kubeConfig);
    vi.useFakeTimers({ toFake: ['Date'] });
    expect(await get(client)).toMatchObject({ authorization: 'Bearer first' });
    // As the kubelet does: another file takes the name.
    writeFileSync(join(account, 'token.new'), 'second\n');
    renameSync(join(account, 'token.new'), join(account, 'token'));
    vi.setSystemTime(Date.now() + 61_000);
    expect(await get(client)).toMatchObject({ authorization: 'Bearer second' });
  });

  test('tokenFile of a kubeconfig, which comes before token', async () => {
    const server = await listen(echo);
    const cluster = { 'certificate-authority': 'ca.crt' };
    writeFileSync(file('token'), 'from-file');
    const user = { token: 'from-config', tokenFile: 'token' };
    const client = clientOf(loadKubeConfig(kubeconfigFile(server, cluster, user)));
    expect(await get(client)).toMatchObject({ authorization: 'Bearer from-file' });
  });

  test('outside a cluster and without a file there is a way out', () => {
    expect(() => loadKubeConfig(null, {})).toThrow('give --kubeconfig FILE');
    expect(() => loadKubeConfig(file('absent'))).toThrow(/ENOENT/);
  });
});

test('the path of the server address is kept', async () => {
  const server = `${await listen(echo)}/k8s/clusters/c-1/`;
  const cluster = { 'certificate-authority': 'ca.crt' };
  const client = clientOf(loadKubeConfig(kubeconfigFile(server, cluster, { token: 't' })));
  expect(await get(client)).toMatchObject({ url: '/k8s/clusters/c-1/api/v1/nodes?limit=1' });
});

test('a proxy of the kubeconfig is used, and trusted with nothing', async () => {
  const server = await listen(echo);
  const tunnels: string[] = [];
  const proxy = createProxy();
  proxy.on('connect', (request, downstream: Socket) => {
    tunnels.push(request.url ?? '');
    const upstream = connect(Number(new URL(server).port), '127.0.0.1', () => {
      downstream.write('HTTP/1.1 200 OK\r\n\r\n');
      downstream.pipe(upstream).pipe(downstream);
    });
    for (const socket of [upstream, downstream]) socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const proxyUrl = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const cluster = { 'certificate-authority': 'ca.crt', 'proxy-url': proxyUrl };
  const client = clientOf(loadKubeConfig(kubeconfigFile(server, cluster, { token: 't' })));
  expect(await get(client)).toMatchObject({ authorization: 'Bearer t' });
  expect(tunnels).toEqual([new URL(server).host]);
  client.close();
  proxy.close();
});

test('calls one after the other share a connection', async () => {
  const ports = new Set<number | undefined>();
  const server = await listen((request, response) => {
    ports.add(request.socket.remotePort);
    response.end('{}');
  });
  const cluster = { 'certificate-authority': 'ca.crt' };
  const client = clientOf(loadKubeConfig(kubeconfigFile(server, cluster, { token: 't' })));
  for (let call = 0; call < 3; call++) await get(client);
  expect(ports.size).toBe(1);
});

test('a process whose source was stopped ends by itself', async () => {
  const modules = new URL('../../syncer/', import.meta.url);
  const script = `
    import { ClusterSource } from '${modules}kubernetes/cluster-source.ts';
    import { loadKubeConfig } from '${modules}kubernetes/kube-config.ts';
    import { SILENT_LOGGER } from '${modules}log.ts';
    const kubeConfig = loadKubeConfig(process.argv[1]);
    const source = new ClusterSource({ kubeConfig, logger: SILENT_LOGGER });
    await source.start(() => { if (source.synced) source.stop(); });
  `;
  // Watches are left open: only the process can end them.
  const server = await listen((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'https://server');
    if (searchParams.has('watch')) response.flushHeaders();
    else if (/^\/apis\/[^/]+\/v1$/.test(pathname)) {
      const names = ['ingresses', 'ingressclasses', 'endpointslices'];
      response.end(JSON.stringify({ resources: names.map((name) => ({ name })) }));
    } else response.end(JSON.stringify({ metadata: { resourceVersion: '1' }, items: [] }));
  });
  const config = kubeconfigFile(server, { 'certificate-authority': 'ca.crt' }, { token: 't' });
  const argv = ['--input-type=module', '--eval', script, config];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'inherit', 'inherit'] });
  expect(await once(child, 'exit')).toEqual([0, null]);
});
