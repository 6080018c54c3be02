/**
 * Shows that the cluster of this folder is a real one. As root: `node test/cluster/smoke.ts`
 *
 * Exits with 0 when every step holds. Prints how long each took.
 */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { json } from 'node:stream/consumers';
import { Cluster, type EchoAnswer, waitFor } from './cluster.ts';
import { enterEdge } from './in-edge.ts';
import type { List, Pod } from './objects.ts';

await enterEdge();

const manifests = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 10
      containers:
        - name: echo
          image: echo
          ports: [{ name: http, containerPort: 8080 }]
          lifecycle: { preStop: { exec: { command: [sleep, '2'] } } }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  type: NodePort
  selector: { app: web }
  ports: [{ name: http, port: 80, targetPort: http }]
---
apiVersion: v1
kind: Service
metadata: { name: local }
spec:
  type: NodePort
  externalTrafficPolicy: Local
  selector: { app: web }
  ports: [{ name: http, port: 80, targetPort: 8080 }]
`;

const legacyIngress = `
apiVersion: extensions/v1beta1
kind: Ingress
metadata:
  name: web
  annotations: { kubernetes.io/ingress.class: causeway }
spec:
  rules:
    - host: web.example.com
      http:
        paths: [{ path: /, backend: { serviceName: web, servicePort: 80 } }]
`;

const outside = `
apiVersion: v1
kind: Service
metadata: { name: outside }
spec: { type: NodePort, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Endpoints
metadata: { name: outside }
subsets: [{ addresses: [{ ip: 10.0.0.21 }, { ip: 10.0.0.22 }], ports: [{ name: http, port: 8080 }] }]
`;

const cluster = await step('start', () => Cluster.start());
try {
  await step('an old Ingress is served as networking.k8s.io/v1', servesOldIngress);
  await step('two pods answer on both node ports', answersOnNodePorts);
  await step('externalTrafficPolicy: Local', keepsTrafficLocal);
  await step('addresses outside the cluster', reachesOutside);
  await step('scale to 4, roll over, drop nothing', rollsOver);
  await step('the API server crashes and comes back', survivesCrash);
  await step('a pod that dies is replaced', replacesDeadPod);
  await step('a node comes and goes', addsAndRemovesNode);
  await step('RBAC and a ServiceAccount token', obeysRbac);
  await step('deletion takes the pods along', deletesAll);
} catch (error) {
  console.error(cluster.log('pod-runner'));
  throw error;
} finally {
  await step('stop', () => cluster.stop());
}

async function servesOldIngress() {
  const { versions } = await cluster.api
    .get<{ versions: { groupVersion: string }[] }>('/apis/extensions')
    .catch(() => ({ versions: [] }));
  if (versions.length === 0) return console.log('  (skipped: this Kubernetes is too new)');
  await cluster.apply(legacyIngress);
  const ingress = await cluster.api.get<{ spec: { rules: unknown } }>(
    '/apis/networking.k8s.io/v1/namespaces/default/ingresses/web',
  );
  const service = { name: 'web', port: { number: 80 } };
  const path = { path: '/', pathType: 'ImplementationSpecific', backend: { service } };
  assert.deepEqual(ingress.spec.rules, [{ host: 'web.example.com', http: { paths: [path] } }]);
}

async function answersOnNodePorts() {
  await cluster.apply(manifests);
  await cluster.rolledOut('default', 'web');
  const port = await cluster.nodePort('default', 'web');
  for (const { address } of cluster.nodes) {
    await waitFor('both pods', async () => {
      const answers = await Promise.all(Array.from({ length: 8 }, () => ask(address, port)));
      return new Set(answers.map(({ pod }) => pod)).size === 2;
    });
  }
  const answer = await ask('10.0.0.11', port, '/a/../b?c=%2f');
  assert.equal(answer.path, '/a/../b?c=%2f');
  assert.equal(answer.service, 'web');
  const script = `fetch('http://10.0.0.12:${port}/').then((it) => it.text()).then(console.log)`;
  assert.match(
    await cluster.exec('ext1', [process.execPath, '--eval', script]),
    /"method":"GET"/,
    'other hosts reach the node ports too',
  );
}

async function keepsTrafficLocal() {
  const port = await cluster.nodePort('default', 'local');
  for (const { name, address } of cluster.nodes) {
    for (let n = 0; n < 5; n++) {
      const answer = await ask(address, port);
      assert.equal(answer.node, name);
      assert.equal(answer.peer, '10.0.0.1', 'the client address is kept');
    }
  }
}

async function reachesOutside() {
  for (const host of ['ext1', 'ext2']) await cluster.startEcho(8080, host);
  await cluster.apply(outside);
  const port = await cluster.nodePort('default', 'outside');
  await waitFor('both hosts', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => ask('10.0.0.11', port)));
    return new Set(answers.map(({ pod }) => pod)).size === 2;
  });
}

async function rollsOver() {
  const port = await cluster.nodePort('default', 'web');
  await cluster.kubectl(['scale', 'deployment', 'web', '--replicas=4']);
  await cluster.rolledOut('default', 'web');
  const before = new Set((await pods()).map(({ metadata }) => metadata.name));
  assert.equal(before.size, 4);
  let isRolling = true;
  let asked = 0;
  const asking = (async () => {
    while (isRolling && asked < 20_000) {
      await ask('10.0.0.11', port);
      asked++;
    }
  })();
  await cluster.kubectl(['set', 'env', 'deployment/web', 'VERSION=2']);
  await cluster.rolledOut('default', 'web');
  await waitFor('the old pods to go', async () => (await pods()).length === 4);
  isRolling = false;
  await asking;
  console.log(`  ${asked} requests answered during the rollout`);
  for (const { metadata } of await pods()) assert(!before.has(metadata.name));
}

async function survivesCrash() {
  const port = await cluster.nodePort('default', 'web');
  await cluster.killApiServer();
  await ask('10.0.0.11', port);
  await assert.rejects(cluster.api.get('/version'));
  await cluster.startApiServer();
  await cluster.kubectl(['scale', 'deployment', 'web', '--replicas=2']);
  await cluster.rolledOut('default', 'web');
}

async function replacesDeadPod() {
  const pod = (await pods()).find(({ metadata }) => !metadata.deletionTimestamp);
  assert(pod);
  const port = await cluster.nodePort('default', 'web');
  const node = pod.spec.nodeName ?? '';
  // By the pid that the kernel names for the pod's address: the pods of a node share its namespace.
  const listening = await cluster.exec(node, ['ss', '-Hltnp', `src ${pod.status.podIP}`]);
  const pid = Number(/pid=(\d+)/.exec(listening)?.[1]);
  assert(pid > 0, 'no process listens on the pod address');
  process.kill(pid, 'SIGKILL');
  await waitFor('the pod to fail', async () =>
    (await pods()).some(({ status }) => status.phase === 'Failed'),
  );
  await cluster.rolledOut('default', 'web');
  await waitFor('an answer', () => ask('10.0.0.11', port));
}

async function addsAndRemovesNode() {
  const port = await cluster.nodePort('default', 'web');
  const node = await cluster.addNode({ externalAddress: '198.51.100.3' });
  assert.equal(node.name, 'node3');
  await ask(node.address, port);
  await ask('198.51.100.3', port);
  await cluster.kubectl(['cordon', 'node1']);
  await cluster.kubectl(['scale', 'deployment', 'web', '--replicas=4']);
  await cluster.rolledOut('default', 'web');
  assert((await pods()).some(({ spec }) => spec.nodeName === 'node3'));
  await cluster.removeNode('node3');
  await cluster.rolledOut('default', 'web');
  assert((await pods()).every(({ spec }) => spec.nodeName !== 'node3'));
  await cluster.kubectl(['uncordon', 'node1']);
}

async function obeysRbac() {
  const file = await cluster.serviceAccountKubeconfig('default', 'default');
  const asAccount = cluster.kubectl(['get', 'services', `--kubeconfig=${file}`]);
  await assert.rejects(asAccount, /Forbidden.*system:serviceaccount:default:default/);
}

async function deletesAll() {
  await cluster.kubectl(['delete', 'deployment', 'web']);
  await waitFor('the pods to go', async () => (await pods()).length === 0);
  const port = await cluster.refusedNodePort('default', 'web');
  await waitFor('a refusal', () => ask('10.0.0.11', port).then(() => false, isRefusal));
  for (const { name } of cluster.nodes) {
    const addresses = await cluster.exec(name, ['ip', '-4', 'address', 'show', 'dev', 'lo']);
    assert(!addresses.includes('10.244.'), `${name} still has a pod address`);
  }
}

function isRefusal(error: NodeJS.ErrnoException): boolean {
  return error.code === 'ECONNREFUSED';
}

async function pods(): Promise<Pod[]> {
  const path = '/api/v1/namespaces/default/pods?labelSelector=app%3Dweb';
  return (await cluster.api.get<List<Pod>>(path)).items;
}

/** One request on a connection of its own, so that kube-proxy chooses anew. */
function ask(address: string, port: number, path = '/'): Promise<EchoAnswer> {
  return new Promise((resolve, reject) => {
    const options = { host: address, port, path, agent: false, signal: AbortSignal.timeout(5000) };
    const sent = request(options, (response) => {
      resolve(json(response) as Promise<EchoAnswer>);
    });
    sent.once('error', reject);
    sent.end();
  });
}

async function step<T>(what: string, run: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const result = await run();
  console.log(`${String(Math.round(performance.now() - start)).padStart(6)} ms  ${what}`);
  return result;
}
