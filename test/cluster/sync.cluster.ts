/**
 * The syncer of production, as it runs in a pod: settings from the environment, a ServiceAccount, and
 * the rules of Cloudflare's network, which dials public addresses only.
 */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Edge, startEdge } from '../../local/edge.ts';
import type { Front } from '../../local/front.ts';
import { generateKeyPair } from '../../snapshot/signature.ts';
import { startFront } from '../support/front.ts';
import { type AdminView, untilServed } from './admin-view.ts';
import { verdict } from './ask.ts';
import { Cluster, waitFor } from './cluster.ts';
import {
  applyAll,
  deployment,
  ingress,
  ingressClass,
  nodePortService,
  syncerKubeconfig,
} from './manifests.ts';
import type { RunningProcess } from './processes.ts';
import { edgeSettings } from './syncer-process.ts';

const PROGRAM = fileURLToPath(new URL('../../bin/causeway.mjs', import.meta.url));
/** Public, as far as anybody can tell from the address; here it is the second node's. */
const PUBLIC_ADDRESS = '11.0.0.2';

let cluster: Cluster;
let edge: Edge;
let front: Front;
let settings: Record<string, string>;

beforeAll(async () => {
  const { publicKey, privateKey } = await generateKeyPair();
  cluster = await Cluster.start({ nodes: 1, externalHosts: 0 });
  await cluster.addNode({ externalAddress: PUBLIC_ADDRESS });
  edge = await startEdge({
    persist: null,
    cluster: 'production',
    publicKey,
    productionRules: true,
    adminHost: 'admin.localhost',
    adminToken: null,
    onLog: () => {},
  });
  front = await startFront();
  front.serve(edge.worker);
  settings = {
    ...edgeSettings(edge),
    CAUSEWAY_CLUSTER: 'production',
    CAUSEWAY_SIGNING_KEY: privateKey,
    KUBECONFIG: await syncerKubeconfig(cluster),
    // Several that come one after the other; those that stand by are leader.cluster.ts's.
    CAUSEWAY_LEADER_ELECTION: 'false',
    CAUSEWAY_PROBE_PORT: '0',
  };
  await applyAll(
    cluster,
    ingressClass('causeway', 'causeway.dev/ingress-controller'),
    deployment('web', { replicas: 2 }),
    nodePortService('web', { nodePort: 30_300 }),
    ingress('web', { 'web.example.com': { '/': 'web' } }),
    deployment('private', { node: 'node1' }),
    nodePortService('private', { externalTrafficPolicy: 'Local' }),
    ingress('private', { 'private.example.com': { '/': 'private' } }),
  );
  await cluster.nodePort('default', 'web');
  await cluster.rolledOut('default', 'private');
});

afterAll(async () => {
  await front?.close();
  await cluster?.stop();
  await edge?.stop();
});

test('settings that are missing or wrong are all named at once', async () => {
  const wrong = { CAUSEWAY_DIALER: 'carrier-pigeon', CAUSEWAY_DISABLE_CATCH_ALL: 'maybe' };
  const syncer = startSync('bare', wrong);
  expect(await syncer.exited).toBe(1);
  const log = cluster.log(syncer.name);
  for (const name of [
    'CLOUDFLARE_API_TOKEN',
    'CLOUDFLARE_ACCOUNT_ID',
    'CAUSEWAY_KV_NAMESPACE_ID',
    'CAUSEWAY_D1_DATABASE_ID',
    'CAUSEWAY_DIALER',
    'CAUSEWAY_DISABLE_CATCH_ALL',
  ]) {
    expect(log).toContain(name);
  }
  expect(log.trim().split('\n')).toHaveLength(1);
});

test('a token that Cloudflare refuses ends it with the reason, and is not in the log', async () => {
  const token = 'a-token-that-is-nobodys-0123456789';
  const syncer = startSync('refused', { ...settings, CLOUDFLARE_API_TOKEN: token });
  expect(await syncer.exited).toBe(1);
  const log = cluster.log(syncer.name);
  expect(log).toMatch(/401|403|[Aa]uthenti|token/);
  expect(log).not.toContain(token);
});

test('a permission that is missing is named; nothing is published until it is there', async () => {
  const role = '/apis/rbac.authorization.k8s.io/v1/clusterroles/causeway';
  const { rules } = await cluster.api.get<{ rules: { resources: string[] }[] }>(role);
  const fewer = rules.filter((rule) => !rule.resources.includes('nodes'));
  await cluster.api.patch(role, { rules: fewer });
  const syncer = startSync('unpermitted', settings);
  try {
    await waitFor('it to say so', () => cluster.log(syncer.name).includes('may not list nodes'));
    expect(await verdict(front.port, { host: 'web.example.com' })).toBe('503 edge');
    await cluster.api.patch(role, { rules });
    await served('web', (it) => it.hosts.includes('web.example.com'));
    expect(await verdict(front.port, { host: 'web.example.com' })).toBe('200 default/web');
  } finally {
    await cluster.api.patch(role, { rules });
    await end(syncer);
  }
});

describe('a syncer', () => {
  let syncer: RunningProcess;

  beforeEach(() => {
    syncer ??= startSync('first', settings);
  });

  test('publishes public addresses only, and says which are not', async () => {
    const view = await served('both, with the problems', (it) =>
      ['web', 'private'].every((name) =>
        it.hasProblem(`EndpointNotPublic Service default/${name}`),
      ),
    );
    expect(view.endpoints('default/web/80')).toEqual([`${PUBLIC_ADDRESS}:30300`]);
    expect(view.problems.find((each) => each.includes('default/web'))).toContain('10.0.0.11:30300');
    expect(await verdict(front.port, { host: 'web.example.com' })).toBe('200 default/web');

    expect(view.endpoints('default/private/80')).toEqual([]);
    expect(await verdict(front.port, { host: 'private.example.com' })).toBe('503 edge');
  });

  test('follows the cluster, and leaves Ingresses without a class alone', async () => {
    const { spec, ...rest } = ingress('classless', { 'classless.example.com': { '/': 'web' } });
    const { rules } = spec as { rules: unknown };
    await applyAll(
      cluster,
      { ...rest, spec: { rules } },
      ingress('next', { 'next.example.com': { '/': 'web' } }),
    );
    // Applied after it: when the edge serves this one, the syncer has seen the other.
    await served('what came', (it) => it.hosts.includes('next.example.com'));
    expect(await verdict(front.port, { host: 'next.example.com' })).toBe('200 default/web');
    expect(await verdict(front.port, { host: 'classless.example.com' })).toBe('404 edge');
    await cluster.kubectl(['delete', 'ingress', 'next', 'classless']);
    await served('what is left', (it) => !it.hosts.includes('next.example.com'));
  });

  test('that is killed leaves all as it is; the next one goes on from there', async () => {
    const before = await served('web', (it) => it.hosts.includes('web.example.com'));
    syncer.signal('SIGKILL');
    await syncer.exited;
    expect(await verdict(front.port, { host: 'web.example.com' })).toBe('200 default/web');
    syncer = startSync('second', settings);
    await applyAll(cluster, ingress('second', { 'second.example.com': { '/': 'web' } }));
    await served('what came', (it) => it.hosts.includes('second.example.com'));
    // It published the change, and nothing before it.
    await waitFor('its log', () => published('second').length > 0);
    expect(published('second')).toEqual([before.version]);
  });

  test('that is no longer the newest stops publishing, and says so', async () => {
    const older = syncer;
    const before = await claims();
    syncer = startSync('third', settings);
    await waitFor('its claim', async () => (await claims()) > before);
    await applyAll(cluster, ingress('third', { 'third.example.com': { '/': 'web' } }));
    await served('what came', (it) => it.hosts.includes('third.example.com'));
    await waitFor('the older to say so', () => cluster.log(older.name).includes('deposed'));
    expect(published('second')).toHaveLength(1);
    await waitFor('the log of the newer', () => published('third').length > 0);
    expect(published('third')).toHaveLength(1);
    await end(older);
  });

  test("with a key that is not the edge's cannot make it serve anything", async () => {
    const before = await served('web', (it) => it.hosts.includes('third.example.com'));
    await end(syncer);
    const { privateKey } = await generateKeyPair();
    const forger = startSync('forger', { ...settings, CAUSEWAY_SIGNING_KEY: privateKey });
    await cluster.kubectl(['delete', 'ingress', 'third']);
    await waitFor('its publication', () => published('forger').length > 0);
    expect(await verdict(front.port, { host: 'third.example.com' })).toBe('200 default/web');
    await end(forger);
    syncer = startSync('fourth', settings);
    const after = await served('the truth', (it) => !it.hosts.includes('third.example.com'));
    expect(after.version).not.toBe(before.version);
    expect(await verdict(front.port, { host: 'third.example.com' })).toBe('404 edge');
  });

  test('that is asked to end ends in order, and kept its secrets', async () => {
    await end(syncer);
    for (const name of ['first', 'second', 'third', 'fourth', 'unpermitted']) {
      const log = cluster.log(`sync-${name}`);
      expect(log).not.toContain(settings.CLOUDFLARE_API_TOKEN);
      expect(log).not.toContain(settings.CAUSEWAY_SIGNING_KEY);
    }
    expect(await verdict(front.port, { host: 'web.example.com' })).toBe('200 default/web');
  });

  test('that is asked to end while it waits for the API server ends in order too', async () => {
    await cluster.killApiServer();
    syncer = startSync('waiting', settings);
    await waitFor('it to wait', () => cluster.log(syncer.name).includes('cannot list'));
    await end(syncer);
  });
});

function startSync(name: string, env: Record<string, string>): RunningProcess {
  return cluster.spawn('edge', `sync-${name}`, [process.execPath, PROGRAM, 'sync'], env);
}

/** SIGTERM, and it ends by itself with 0. */
async function end(syncer: RunningProcess): Promise<void> {
  await syncer.stop(10_000);
  expect(await syncer.exited).toBe(0);
}

function served(what: string, isThere: (view: AdminView) => boolean): Promise<AdminView> {
  return untilServed(front.port, edge.admin.token, what, isThere);
}

/** The versions that a syncer's publications replaced, oldest first. */
function published(name: string): string[] {
  const lines = cluster
    .log(`sync-${name}`)
    .split('\n')
    .filter((line) => line.startsWith('{'));
  const records = lines.map((line) => JSON.parse(line) as { msg: string; replaced: string });
  return records.filter(({ msg }) => msg === 'published').map((it) => it.replaced);
}

/** How often a syncer has claimed the pointer. */
async function claims(): Promise<number> {
  const { baseUrl, accountId, databaseId, token } = edge.api;
  const response = await fetch(`${baseUrl}/accounts/${accountId}/d1/database/${databaseId}/query`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ sql: 'SELECT max(fencing_token) AS claims FROM pointers' }),
  });
  const { result } = (await response.json()) as { result: { results: { claims: number }[] }[] };
  return result[0]?.results[0]?.claims ?? 0;
}
