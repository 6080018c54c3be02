/**
 * Nothing is lost: Deployments are rolled over while the edge is under load, without preStop hooks in
 * the pods. `CAUSEWAY_ROLLING_REQUESTS` and `CAUSEWAY_ROLLING_RELEASES` say how many requests each policy
 * gets, and how many releases meanwhile.
 *
 * A process that stops listening the moment it gets SIGTERM resets what waits in its backlog, in which
 * the kernel has accepted requests that no proxy may repeat. So the pods here are those of a server
 * that goes on accepting until nobody connects any more, but for one Deployment, whose pods do not: of
 * it all is answered that may be sent twice. docs/retries.md has more, and figures of both.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Edge, startEdge } from '../../local/edge.ts';
import type { Front } from '../../local/front.ts';
import { generateKeyPair } from '../../snapshot/signature.ts';
import { startFront } from '../support/front.ts';
import { type AdminView, untilServed } from './admin-view.ts';
import { verdict } from './ask.ts';
import { Cluster, waitFor } from './cluster.ts';
import { ACCOUNT } from './deploy.ts';
import { Load } from './load.ts';
import {
  applyAll,
  deployment,
  ingress,
  ingressClass,
  nodePortService,
  syncerKubeconfig,
} from './manifests.ts';
import type { List, Pod } from './objects.ts';
import { edgeSettings, SyncerProcess } from './syncer-process.ts';

const REQUESTS = Number(process.env.CAUSEWAY_ROLLING_REQUESTS ?? 10_000);
const REQUESTS_AROUND = Math.ceil(REQUESTS / 5);
/** The figure of a run by hand takes its time. */
const TIMEOUT_MS = 120_000 + REQUESTS * 20;
const REPLICAS = 4;
const LINGERS_MS = 500;
/** The least is two. */
const RELEASES = Number(process.env.CAUSEWAY_ROLLING_RELEASES ?? 4);
/** A Deployment each, with the policy of its Service. */
const POLICIES = { cluster: 'Cluster', local: 'Local', hasty: 'Cluster' } as const;
const NAMES = ['cluster', 'local', 'hasty'] as const;

let cluster: Cluster;
let edge: Edge;
let front: Front;
let syncer: SyncerProcess;
let settings: Record<string, string>;
const workerLog: string[] = [];

beforeAll(async () => {
  const { publicKey, privateKey } = await generateKeyPair();
  cluster = await Cluster.start({ nodes: 0, externalHosts: 0 });
  for (const externalAddress of ['11.0.0.1', '11.0.0.2'])
    await cluster.addNode({ externalAddress });
  edge = await startEdge({
    persist: null,
    cluster: 'production',
    publicKey,
    productionRules: true,
    adminHost: 'admin.localhost',
    adminToken: null,
    onLog: (line) => workerLog.push(line),
  });
  front = await startFront();
  front.serve(edge.worker);
  settings = {
    ...edgeSettings(edge),
    CAUSEWAY_CLUSTER: 'production',
    CAUSEWAY_SIGNING_KEY: privateKey,
    CAUSEWAY_LEASE_NAMESPACE: ACCOUNT.namespace,
    CAUSEWAY_LEASE_NAME: 'causeway',
    KUBECONFIG: await syncerKubeconfig(cluster),
    POD_NAME: 'syncer',
  };
  syncer = new SyncerProcess(cluster, settings);
  await applyAll(
    cluster,
    ingressClass('causeway', 'causeway.dev/ingress-controller'),
    ...NAMES.flatMap((name) => [
      deployment(name, { replicas: REPLICAS, lingersMs: name === 'hasty' ? 0 : LINGERS_MS }),
      nodePortService(name, { externalTrafficPolicy: POLICIES[name] }),
      ingress(name, { [`${name}.example.com`]: { '/': name } }),
    ]),
  );
  for (const name of NAMES) {
    await cluster.rolledOut('default', name);
    await cluster.nodePort('default', name);
    await served(name, (it) => it.endpoints(`default/${name}/80`).length === 2);
  }
});

afterAll(async () => {
  await syncer?.stop();
  await front?.close();
  await cluster?.stop();
  await edge?.stop();
});

test.each(['cluster', 'local'])(
  'externalTrafficPolicy %s: a Deployment is rolled over again and again',
  { timeout: TIMEOUT_MS },
  async (name) => {
    expect(await underLoad(`policy ${name}`, name, REQUESTS, rollOverAgain(name))).toEqual([]);
  },
);

test('of pods that reset what they have not read, all is answered that may be sent twice', {
  timeout: TIMEOUT_MS,
}, async () => {
  const failures = await underLoad('hasty pods', 'hasty', REQUESTS_AROUND, async () => {
    await rollOver('hasty');
    await rollOver('hasty');
  });
  expect(failures.filter((each) => !each.startsWith('POST'))).toEqual([]);
  // Connections that are refused are made again, whatever the method.
  const causes = workerLog.filter((line) => line.includes('UpstreamFailed'));
  expect(causes.filter((line) => !line.includes('UnansweredError'))).toEqual([]);
  expect(causes).toHaveLength(failures.length);
});

test('other routes come, change and go meanwhile', { timeout: TIMEOUT_MS }, async () => {
  const failures = await underLoad('changing routes', 'cluster', REQUESTS_AROUND, async (load) => {
    await Promise.all([
      rollOverAgain('cluster')(load),
      (async () => {
        do await changeRoutes();
        while (load.isWanted);
      })(),
    ]);
  });
  expect(failures).toEqual([]);
});

test.each(['cluster', 'local'])(
  'the syncer is killed and the API server restarted meanwhile (policy %s)',
  { timeout: TIMEOUT_MS },
  async (name) => {
    const failures = await underLoad(`outages, ${name}`, name, REQUESTS_AROUND, async () => {
      await beginRollOver(name);
      syncer.signal('SIGKILL');
      await waitFor('a pod to end', async () => (await podsOf(name)).some(isEnding));
      await cluster.killApiServer();
      await cluster.startApiServer();
      syncer = new SyncerProcess(cluster, settings);
      await rolledOver(name);
      await applyAll(cluster, ingress('after', { [`after-${name}.example.com`]: { '/': name } }));
      await served('what came after', (it) => it.hosts.includes(`after-${name}.example.com`));
    });
    expect(failures).toEqual([]);
  },
);

/** At least so many requests go through while `act` runs. Returns what was wrong with them. */
async function underLoad(
  what: string,
  name: string,
  requests: number,
  act: (load: Load) => Promise<void>,
): Promise<readonly string[]> {
  workerLog.length = 0;
  const releaseBefore = release;
  const { port } = front;
  const host = `${name}.example.com`;
  const load = Load.start({ port, host, service: `default/${name}`, wanted: requests });
  const startedMs = performance.now();
  try {
    await act(load);
    await load.reaches(1);
  } finally {
    await load.stop();
  }
  const seconds = Math.round((performance.now() - startedMs) / 1_000);
  const { count, failures, podCount } = load;
  const releases = release - releaseBefore;
  console.log(
    `${what}: ${count} requests in ${seconds} s, ${releases} releases, ${podCount} pods, ${failures.length} failed`,
  );
  if (failures.length > 0) console.log([...failures, ...workerLog].join('\n'));
  // Those before and those after.
  expect(podCount).toBeGreaterThanOrEqual(2 * REPLICAS);
  return failures;
}

let release = 0;

/** Has all pods replaced by new ones. */
async function beginRollOver(name: string): Promise<void> {
  await cluster.kubectl(['set', 'env', `deployment/${name}`, `RELEASE=${++release}`]);
}

/** Waits until all pods are new and the old ones gone. */
async function rolledOver(name: string): Promise<void> {
  const isOver = async () => {
    await cluster.rolledOut('default', name);
    return (await podsOf(name)).length === REPLICAS;
  };
  await waitFor(`the rollout of ${name}`, isOver, { timeoutMs: 120_000 });
}

async function rollOver(name: string): Promise<void> {
  await beginRollOver(name);
  await rolledOver(name);
}

const isEnding = ({ metadata }: Pod): boolean => metadata.deletionTimestamp !== undefined;

/** One release after the other, evenly among the requests: those of quiet times prove little. */
function rollOverAgain(name: string): (load: Load) => Promise<void> {
  return async (load) => {
    for (let round = 1; round <= RELEASES; round++) {
      await rollOver(name);
      await load.reaches(round / RELEASES);
    }
  };
}

async function podsOf(name: string): Promise<readonly Pod[]> {
  const path = `/api/v1/namespaces/default/pods?labelSelector=app%3D${name}`;
  return (await cluster.api.get<List<Pod>>(path)).items;
}

/** An Ingress comes, changes its Service, and goes; each time the edge is asked once. */
async function changeRoutes(): Promise<void> {
  const host = 'passing.example.com';
  for (const service of ['local', 'cluster']) {
    await applyAll(cluster, ingress('passing', { [host]: { '/': service } }));
    await served(service, (it) => it.upstream(host) === `default/${service}/80`);
    expect(await verdict(front.port, { host })).toBe(`200 default/${service}`);
  }
  await cluster.kubectl(['delete', 'ingress', 'passing']);
  await served('nothing', (it) => !it.hosts.includes(host));
  expect(await verdict(front.port, { host })).toBe('404 edge');
}

function served(what: string, isThere: (view: AdminView) => boolean): Promise<AdminView> {
  return untilServed(front.port, edge.admin.token, what, isThere);
}
