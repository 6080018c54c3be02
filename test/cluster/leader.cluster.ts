/**
 * Two syncers and one Lease on a real API server: one publishes, the other takes over, and who was
 * stopped in the middle of a publication moves nothing when it goes on.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LocalCloudflare, syncerSettings } from '../publish/support/cloudflare.ts';
import { servedByD1, servedByKv } from '../publish/support/served.ts';
import { Cluster, waitFor } from './cluster.ts';
import { ACCOUNT, accessManifests } from './deploy.ts';
import { applyAll, ingress, nodePortService } from './manifests.ts';
import { type LogLine, SyncerProcess } from './syncer-process.ts';

let cluster: Cluster;
let cloudflare: LocalCloudflare;
let kubeconfig: string;
const syncers = new Set<SyncerProcess>();

beforeAll(async () => {
  [cluster, cloudflare] = await Promise.all([
    Cluster.start({ nodes: 1, externalHosts: 0 }),
    LocalCloudflare.start(),
  ]);
  await applyAll(cluster, ...(await accessManifests()), nodePortService('web'));
  kubeconfig = await cluster.serviceAccountKubeconfig(ACCOUNT.namespace, ACCOUNT.name);
});

afterAll(async () => {
  await Promise.all([cluster?.stop(), cloudflare?.stop()]);
});

beforeEach(async () => {
  await cloudflare.reset();
  await cluster.api.delete(LEASE).catch(() => {});
});

afterEach(async () => {
  await Promise.all([...syncers].map((it) => it.stop()));
  syncers.clear();
});

const LEASE = `/apis/coordination.k8s.io/v1/namespaces/${ACCOUNT.namespace}/leases/causeway`;

interface Lease {
  readonly spec: { readonly holderIdentity: string; readonly leaseTransitions: number };
}

function startSyncer(name: string): SyncerProcess {
  const syncer = new SyncerProcess(cluster, {
    KUBECONFIG: kubeconfig,
    ...syncerSettings(cloudflare.origin),
    CAUSEWAY_CLUSTER: 'test',
    CAUSEWAY_LEASE_NAMESPACE: ACCOUNT.namespace,
    CAUSEWAY_LEASE_NAME: 'causeway',
    CAUSEWAY_WATCH_INGRESS_WITHOUT_CLASS: 'true',
    CAUSEWAY_PUBLISH_ADDRESS: `${name}.edge.example.com`,
    POD_NAME: name,
  });
  syncers.add(syncer);
  return syncer;
}

/** The first leads and has published; the second waits with its caches full. */
async function startBoth(host: string): Promise<[SyncerProcess, SyncerProcess]> {
  await serveOnly(host);
  const first = startSyncer('first');
  await first.says(/^published/);
  const second = startSyncer('second');
  await second.says(/^started/);
  await untilServed(host);
  return [first, second];
}

async function serveOnly(host: string): Promise<void> {
  await applyAll(cluster, ingress('web', { [host]: { '/': 'web' } }));
}

async function hosts(): Promise<readonly string[]> {
  const served = await servedByD1(cloudflare);
  return (served?.snapshot.virtualHosts ?? []).map(({ hostname }) => hostname);
}

function untilServed(host: string): Promise<true> {
  return waitFor(`the pointer to serve ${host}`, async () => (await hosts()).includes(host));
}

async function untilStatus(address: string): Promise<void> {
  const path = '/apis/networking.k8s.io/v1/namespaces/default/ingresses/web';
  await waitFor(`the status to be ${address}`, async () =>
    JSON.stringify(await cluster.api.get<{ status: unknown }>(path)).includes(`"${address}"`),
  );
}

/** Says how long it took; nothing is asserted about that. */
async function takeover(what: string, second: SyncerProcess, begin: () => unknown): Promise<void> {
  const startedMs = performance.now();
  await begin();
  await second.says(/^leading/);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  console.log(`takeover after ${what}: ${seconds} s`);
}

test('asked to end, a leader hands over', async () => {
  const [first, second] = await startBoth('a.example.com');
  await takeover('SIGTERM', second, async () => expect(await first.stop()).toBe(0));
  expect((await cluster.api.get<Lease>(LEASE)).spec.leaseTransitions).toBe(2);
  await serveOnly('b.example.com');
  await untilServed('b.example.com');
  await untilStatus('second.edge.example.com');
  expect(await second.stop()).toBe(0);
  expect((await cluster.api.get<Lease>(LEASE)).spec.holderIdentity).toBe('');
});

test('killed, it is followed when its Lease has expired', async () => {
  const [first, second] = await startBoth('a.example.com');
  await takeover('SIGKILL', second, () => first.signal('SIGKILL'));
  await serveOnly('b.example.com');
  await untilServed('b.example.com');
});

test('the Lease is deleted under them: the tokens go on', async () => {
  await startBoth('a.example.com');
  await cluster.api.delete(LEASE);
  await waitFor('another Lease', () => cluster.api.get<Lease>(LEASE));
  await serveOnly('b.example.com');
  await untilServed('b.example.com');
  // Whoever leads now claims it with its first run, which may come after that publication.
  await waitFor('D1 to have the token of the Lease', async () => {
    const { leaseTransitions } = (await cluster.api.get<Lease>(LEASE)).spec;
    const sql = 'SELECT fencing_token AS token FROM pointers';
    const [row] = await cloudflare.rows<{ token: number }>(sql);
    return row?.token === leaseTransitions && leaseTransitions > 1;
  });
});

describe('stopped in the middle of a publication and woken after its Lease expired', () => {
  // Where it is stopped: while it tries to write bodies, or to move the pointer.
  test.each([
    ['bodies', '/bulk$', 'PUT bulk'],
    ['the pointer', '/raw$', 'POST raw'],
  ])('at %s, it moves nothing', async (_, match, call) => {
    const [first, second] = await startBoth('a.example.com');
    await untilStatus('first.edge.example.com');
    await cloudflare.clearFaults();
    const respond = { kind: 'status', status: 503 } as const;
    await cloudflare.inject({ match, times: 1_000, respond });
    await serveOnly('old.example.com');
    // It tries again and again, and that is where it stays.
    await waitFor('the publication to begin', async () =>
      (await cloudflare.calls()).includes(call),
    );
    await takeover(`SIGSTOP at ${call}`, second, async () => {
      first.signal('SIGSTOP');
      await cloudflare.clearFaults();
      await serveOnly('new.example.com');
    });
    await untilServed('new.example.com');
    await untilStatus('second.edge.example.com');
    const before = await servedByD1(cloudflare);
    const rows = await cloudflare.rows('SELECT id, version, fencing_token FROM publications');

    await cloudflare.clearFaults();
    first.signal('SIGCONT');
    const line: LogLine = await first.says(/^no longer leading/);
    expect(line.reason).toMatch(/not renewed for \d+ s/);
    await first.says(/^publication abandoned|^publishing failed/);
    // A whole run of the new one later nothing has moved.
    await serveOnly('last.example.com');
    await untilServed('last.example.com');
    const after = await cloudflare.rows('SELECT id, version, fencing_token FROM publications');
    expect(after.slice(0, rows.length)).toEqual(rows);
    expect(after).toHaveLength(rows.length + 1);
    expect((await servedByD1(cloudflare))?.version).not.toBe(before?.version);
    await waitFor('the mirror to follow', async () => {
      const [mirror, pointer] = [await servedByKv(cloudflare), await servedByD1(cloudflare)];
      return mirror?.version === pointer?.version;
    });
    await untilStatus('second.edge.example.com');
    expect(first.log()).not.toContain('deposed');
  });
});
