/**
 * What developers see of their Ingresses, on a real API server and with the rights of deploy/'s
 * ServiceAccount: where the edge is, and in one sentence what is wrong.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LocalCloudflare, syncerSettings } from '../publish/support/cloudflare.ts';
import { Cluster, waitFor } from './cluster.ts';
import { ACCOUNT, accessManifests } from './deploy.ts';
import { applyAll, ingress, ingressClass, nodePortService } from './manifests.ts';
import type { KubernetesObject, List } from './objects.ts';
import { SyncerProcess } from './syncer-process.ts';

const EDGE = 'edge.example.com';
const APPLIES = 50;

let cluster: Cluster;
let cloudflare: LocalCloudflare;
let syncer: SyncerProcess;
let kubeconfig: string;

beforeAll(async () => {
  [cluster, cloudflare] = await Promise.all([
    Cluster.start({ nodes: 1, externalHosts: 0 }),
    LocalCloudflare.start(),
  ]);
  await applyAll(
    cluster,
    ...(await accessManifests()),
    ingressClass('causeway', 'causeway.dev/ingress-controller'),
    ingressClass('other', 'acme.example/other'),
    nodePortService('web'),
  );
  kubeconfig = await cluster.serviceAccountKubeconfig(ACCOUNT.namespace, ACCOUNT.name);
  syncer = startSyncer('first');
  await syncer.says(/^published/);
});

afterAll(async () => {
  await syncer?.stop();
  await Promise.all([cluster?.stop(), cloudflare?.stop()]);
});

function startSyncer(name: string, env: Readonly<Record<string, string>> = {}): SyncerProcess {
  return new SyncerProcess(cluster, {
    KUBECONFIG: kubeconfig,
    ...syncerSettings(cloudflare.origin),
    CAUSEWAY_CLUSTER: name,
    CAUSEWAY_LEASE_NAMESPACE: ACCOUNT.namespace,
    CAUSEWAY_LEASE_NAME: 'causeway',
    CAUSEWAY_PUBLISH_ADDRESS: EDGE,
    POD_NAME: name,
    ...env,
  });
}

interface EventObject extends KubernetesObject {
  readonly type: string;
  readonly reason: string;
  readonly note: string;
  readonly regarding: { readonly kind: string; readonly name: string; readonly uid: string };
  readonly reportingController: string;
  readonly reportingInstance: string;
}

async function eventsOf(name: string, namespace = 'default'): Promise<EventObject[]> {
  const path = `/apis/events.k8s.io/v1/namespaces/${namespace}/events`;
  const { items } = await cluster.api.get<List<EventObject>>(path);
  return items.filter(({ regarding }) => regarding.name === name);
}

const pathOf = (name: string) => `/apis/networking.k8s.io/v1/namespaces/default/ingresses/${name}`;

interface IngressObject extends KubernetesObject {
  readonly status: {
    readonly loadBalancer: { readonly ingress?: readonly { hostname: string }[] };
  };
}

/** The hostnames that an Ingress shows. */
async function shown(name: string): Promise<string[]> {
  const { status } = await cluster.api.get<IngressObject>(pathOf(name));
  return (status.loadBalancer.ingress ?? []).map(({ hostname }) => hostname);
}

async function statusManagers(name: string): Promise<string[]> {
  const { managedFields } = (await cluster.api.get<ManagedObject>(pathOf(name))).metadata;
  return managedFields.filter((it) => 'f:status' in it.fieldsV1).map((it) => it.manager);
}

interface ManagedObject {
  readonly metadata: {
    readonly managedFields: readonly { readonly manager: string; readonly fieldsV1: object }[];
  };
}

async function untilShown(name: string, expected: readonly string[]): Promise<void> {
  await waitFor(`${name} to show ${expected.join(', ') || 'nothing'}`, async () => {
    return JSON.stringify(await shown(name)) === JSON.stringify(expected);
  });
}

/** Something else that the syncer answers to, so that what it did not do it will not do. */
async function untilItHasSeenAll(): Promise<void> {
  const name = `marker-${++markers}`;
  await applyAll(cluster, ingress(name, { [`${name}.example.com`]: { '/': 'web' } }));
  await untilShown(name, [EDGE]);
}
let markers = 0;

describe('an Ingress that is all right', () => {
  test('shows the edge and is Synced with the version', async () => {
    await applyAll(cluster, ingress('good', { 'good.example.com': { '/': 'web' } }));
    await untilShown('good', [EDGE]);
    const synced = await waitFor('Synced', async () =>
      (await eventsOf('good')).find((it) => it.reason === 'Synced'),
    );
    expect(synced.type).toBe('Normal');
    expect(synced.note).toMatch(/^1 route published with version [0-9a-f]{12}/);
    expect(synced.reportingController).toBe('causeway.dev/ingress-controller');
    expect(synced.reportingInstance).toBe('first');
  });

  test('of another controller is left alone', async () => {
    const theirs = ingress('theirs', { 'b.example.com': { '/': 'web' } }, { className: 'other' });
    await applyAll(cluster, theirs);
    const status = { loadBalancer: { ingress: [{ hostname: EDGE }] } };
    await cluster.api.patch(`${pathOf('theirs')}/status?fieldManager=other`, { status });
    await untilItHasSeenAll();
    expect(await shown('theirs')).toEqual([EDGE]);
    expect(await eventsOf('theirs')).toEqual([]);
  });

  test('whose class becomes another shows the edge no more', async () => {
    await applyAll(cluster, ingress('leaving', { 'c.example.com': { '/': 'web' } }));
    await untilShown('leaving', [EDGE]);
    const spec = { ingressClassName: 'other' };
    await cluster.api.patch(pathOf('leaving'), { spec });
    await untilShown('leaving', []);
  });

  test('whose class becomes another that has written its own address keeps that', async () => {
    await applyAll(cluster, ingress('taken', { 'd.example.com': { '/': 'web' } }));
    await untilShown('taken', [EDGE]);
    const status = { loadBalancer: { ingress: [{ hostname: 'other.example.com' }] } };
    await cluster.api.patch(pathOf('taken'), { spec: { ingressClassName: 'other' } });
    await cluster.api.patch(`${pathOf('taken')}/status?fieldManager=other`, { status });
    await untilItHasSeenAll();
    expect(await shown('taken')).toEqual(['other.example.com']);
  });
});

describe('an Ingress with a mistake', () => {
  test('kubectl describe says in one sentence what is wrong', async () => {
    await applyAll(cluster, ingress('typo', { 'typo.example.com': { '/': 'wbe' } }));
    await waitFor('the Event', async () => (await eventsOf('typo')).length > 0);
    const text = await cluster.kubectl(['describe', 'ingress', 'typo']);
    const line = text.split('\n').find((it) => it.includes('ServiceNotFound'));
    expect(line).toMatch(/^\s+Warning\s+ServiceNotFound\s.*causeway\.dev\/ingress-controller/);
    expect(line).toContain('there is no Service default/wbe; requests get 503 until it is created');
    console.log(text.slice(text.indexOf('Events:')));
  });

  test('a Service without pods is told on the Ingress and on the Service', async () => {
    const events = await waitFor('the Events', async () => {
      const [onService] = (await eventsOf('web')).filter(
        ({ regarding }) => regarding.kind === 'Service',
      );
      const onIngress = (await eventsOf('good')).find((it) => it.reason === 'NoEndpoints');
      return onService && onIngress && [onService, onIngress];
    });
    expect(new Set(events.map((it) => it.note)).size).toBe(1);
  });

  test('a syncer that is started anew repeats nothing', async () => {
    const names = async () => {
      const all = [...(await eventsOf('typo')), ...(await eventsOf('good'))];
      return all.map((it) => it.metadata.name).sort();
    };
    const before = await names();
    expect(await syncer.stop()).toBe(0);
    syncer = startSyncer('first');
    await syncer.says(/^leading/);
    await untilItHasSeenAll();
    expect(await names()).toEqual(before);
    expect(syncer.log()).not.toMatch(/may not|not taken|failed/);
  });

  test(`is told soon: the delays of ${APPLIES} applies`, { timeout: 240_000 }, async () => {
    const events: number[] = [];
    const statuses: number[] = [];
    for (let i = 0; i < APPLIES; i++) {
      const name = `late-${i}`;
      const manifest = ingress(name, { [`${name}.example.com`]: { '/': 'wbe' } });
      const beganAt = performance.now();
      await applyAll(cluster, manifest);
      const since = (what: string, probe: () => Promise<boolean>) =>
        waitFor(what, probe, { intervalMs: 20 }).then(() => performance.now() - beganAt);
      const [event, status] = await Promise.all([
        since('the Event', async () =>
          (await eventsOf(name)).some((it) => it.reason === 'ServiceNotFound'),
        ),
        since('the status', async () => (await shown(name)).includes(EDGE)),
      ]);
      events.push(event);
      statuses.push(status);
    }
    console.log(`Event after an apply: ${delays(events)}; status: ${delays(statuses)}`);
    expect(events).toHaveLength(APPLIES);
  });
});

function delays(all: readonly number[]): string {
  const sorted = [...all].sort((a, b) => a - b);
  const ms = (value: number | undefined) => `${Math.round(value ?? 0)} ms`;
  return `median ${ms(sorted[sorted.length >> 1])}, worst of ${all.length} ${ms(sorted.at(-1))}`;
}

test('two Causeways leave each other alone', async () => {
  const env = {
    CAUSEWAY_CONTROLLER_NAME: 'acme.example/other',
    CAUSEWAY_INGRESS_CLASS: 'other',
    // The rules of deploy/ allow one Lease.
    CAUSEWAY_LEADER_ELECTION: 'false',
  };
  await using other = startSyncer('second', env);
  await other.says(/^published/);
  await untilShown('leaving', [EDGE]);
  // Both write the same address. The other takes away what it wrote, and then the first, which saw
  // nothing to do, writes it again the next time that it looks.
  await cluster.api.patch(pathOf('leaving'), { spec: { ingressClassName: 'causeway' } });
  await waitFor('the first to have written it', async () => {
    await untilItHasSeenAll();
    const writers = await statusManagers('leaving');
    return writers.includes('causeway.dev/ingress-controller/causeway');
  });
  await untilItHasSeenAll();
  expect(await shown('leaving')).toEqual([EDGE]);
  expect(await shown('good')).toEqual([EDGE]);
  expect(other.log()).not.toMatch(/failed/);
});
