/**
 * The syncer with the token of deploy/'s ServiceAccount, before the real authorizer: these rules are
 * enough, each of them is needed and says so when it is missing, and none of them allows more than is
 * done.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ApiClient } from '../../syncer/kubernetes/api-client.ts';
import { discoverEventsApi, type Regarding } from '../../syncer/kubernetes/events-api.ts';
import { loadKubeConfig } from '../../syncer/kubernetes/kube-config.ts';
import { readOne } from '../../syncer/kubernetes/read-one.ts';
import { openWatch } from '../../syncer/kubernetes/watch.ts';
import { LocalCloudflare, syncerSettings } from '../publish/support/cloudflare.ts';
import { type AuditEvent, auditLog, secretsRead } from './audit.ts';
import { Cluster, waitFor } from './cluster.ts';
import { ACCOUNT, accessManifests } from './deploy.ts';
import {
  grantsOf,
  grantUsed,
  isRole,
  type RoleManifest,
  type Rule,
  untilAllowed,
  wasAllowed,
} from './grants.ts';
import { applyAll, ingress, ingressClass, nodePortService } from './manifests.ts';
import type { KubernetesObject, List } from './objects.ts';
import { SyncerProcess } from './syncer-process.ts';

let cluster: Cluster;
let cloudflare: LocalCloudflare;
let kubeconfig: string;
let roles: RoleManifest[];

const ACCESS = { components: ['namespace-selector'] };
const PARAMETERS = 'causeway-options';
const SECRET = { name: 'web-tls', namespace: 'default' };

beforeAll(async () => {
  [cluster, cloudflare] = await Promise.all([
    Cluster.start({ nodes: 1, externalHosts: 0 }),
    LocalCloudflare.start(),
  ]);
  const access = await accessManifests(ACCESS);
  roles = access.filter(isRole);
  const { metadata, ...rest } = ingress('web', { 'web.example.com': { '/': 'web' } });
  const spec = { ...(rest.spec as object), tls: [{ secretName: SECRET.name }] };
  await applyAll(
    cluster,
    ...access,
    { apiVersion: 'v1', kind: 'Secret', metadata: SECRET, type: 'Opaque' },
    nodePortService('web'),
    { ...rest, metadata, spec },
  );
  await createClassWithParameters();
  const labels = { team: 'shop' };
  await cluster.api.patch('/api/v1/namespaces/default', { metadata: { labels } });
  kubeconfig = await cluster.serviceAccountKubeconfig(ACCOUNT.namespace, ACCOUNT.name);
});

afterAll(async () => {
  await Promise.all([cluster?.stop(), cloudflare?.stop()]);
});

describe('with the rules of deploy/', () => {
  test('everything is done, nothing is refused, and no verb is granted for nothing', async () => {
    const syncer = startSyncer('whole');
    try {
      await syncer.says(/^published/);
      await waitFor('status and an Event', async () => {
        const [status, events] = await Promise.all([statusOf('web'), eventsOf('web')]);
        return status.includes('edge.example.com') && events.some((it) => it.reason === 'Synced');
      });
    } finally {
      await syncer.stop();
    }
    await repeatAnEvent();
    if (!keepsParameters) await readParameters();
    const granted = roles.flatMap(({ rules }) => rules.flatMap(grantsOf));
    expect(granted.length).toBeGreaterThan(10);
    const unused = () => {
      const used = new Set(requests().filter(wasAllowed).map(grantUsed));
      return granted.filter((grant) => !used.has(grant));
    };
    // The audit log has a watch once it has ended.
    await waitFor('the audit log', () => unused().length === 0).catch(() => {});
    expect(unused()).toEqual([]);
    expect(requests().filter((it) => it.responseStatus?.code === 403)).toEqual([]);
    expect(syncer.log()).not.toMatch(/may not/);
  });

  test('a Secret that no Ingress names is never asked for', async () => {
    expect(secretsRead(ACCOUNT)).toEqual([`${SECRET.namespace}/${SECRET.name}`]);
  });

  const single = { CAUSEWAY_WATCH_NAMESPACE: 'default', CAUSEWAY_WATCH_NAMESPACE_SELECTOR: '' };

  test.each([
    ['named-namespaces', ['causeway-secrets'], {}],
    ['watch-namespaces', ['causeway-secrets', 'causeway-routing'], single],
  ])('those of the overlay %s are enough', async (overlay, unbound, env) => {
    const bindings = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings';
    for (const name of unbound) await cluster.api.delete(`${bindings}/${name}`);
    await applyAll(cluster, ...(await accessManifests({ overlay })));
    try {
      await addIngress();
      await using syncer = startSyncer(overlay, env);
      await syncer.says(/^published/);
      await waitFor('a status', async () => (await statusOf(`web-${ingresses}`)).includes('edge.'));
      expect(syncer.log()).not.toMatch(/may not/);
    } finally {
      await applyAll(cluster, ...(await accessManifests(ACCESS)));
    }
  });
});

/** What the log says when the rule for a resource is missing; and what it says when it is there again. */
const COMPLAINTS: Readonly<Record<string, readonly [missing: RegExp, back: RegExp]>> = {
  'create leases': [/^may not use the Lease: allow .*create/, /^leading/],
  'get leases': [/^may not use the Lease: allow get/, /^leading/],
  'patch ingresses/status': [
    /^may not write: allow patch on ingresses.networking.k8s.io\/status/,
    /^has patch on ingresses.networking.k8s.io\/status again/,
  ],
  'create events': [/^may not write: allow create and patch on events/, /^has create and patch on/],
};

function complaintOf({ resources, verbs }: Rule): readonly [RegExp, RegExp] {
  const [resource = ''] = resources;
  const [verb = ''] = verbs;
  const known = COMPLAINTS[`${verb} ${resource}`];
  if (known) return known;
  // A single object is named by its kind: `secret default/web-tls`.
  const what = `(${resource}|${resource.replace(/s$/, '')} )`;
  return [new RegExp(`^may not ${verb} ${what}`), new RegExp(`^watching ${what}.* again`)];
}

describe('without the rule', () => {
  // Written out, so that a rule that is added has to be thought of here.
  test.each([
    ['networking.k8s.io', 'ingressclasses', 'list'],
    ['', 'nodes', 'list'],
    ['networking.k8s.io', 'ingresses', 'list'],
    ['', 'services', 'list'],
    ['discovery.k8s.io', 'endpointslices', 'list'],
    ['networking.k8s.io', 'ingresses/status', 'patch'],
    ['events.k8s.io', 'events', 'create'],
    ['', 'secrets', 'list'],
    ['', 'namespaces', 'list'],
    ['', 'configmaps', 'list'],
    ['coordination.k8s.io', 'leases', 'create'],
    ['coordination.k8s.io', 'leases', 'get'],
  ])('for %s %s (%s, …) the log says so, and all is well once it is there', async (...named) => {
    const [role, rule] = find(named);
    const isOutOfReach = named[1] === 'configmaps' && !keepsParameters;
    const rest = { ...role, rules: role.rules.filter((it) => it !== rule) };
    await forgetLease();
    await applyAll(cluster, rest);
    await untilAllowed(cluster, rule, false);
    await addIngress();
    const [missing, back] = complaintOf(rule);
    try {
      if (isOutOfReach) return await expect(readParameters()).rejects.toThrow(/configmaps/);
      await using syncer = startSyncer(named.join('-'));
      const line = await syncer.says(missing);
      expect(line.msg).toContain('deploy/');
      await applyAll(cluster, role);
      await untilAllowed(cluster, rule, true);
      await addIngress();
      await syncer.says(back);
      await syncer.says(/^published/);
    } finally {
      await applyAll(cluster, role);
      await untilAllowed(cluster, rule, true);
    }
  });

  test('every rule had its turn', () => {
    expect(roles.flatMap(({ rules }) => rules).length).toBe(12);
  });
});

/** An Event is said again after half an hour: this is the request that the syncer then makes. */
async function repeatAnEvent(): Promise<void> {
  const client = new ApiClient(loadKubeConfig(kubeconfig));
  const { signal } = new AbortController();
  const [event] = await eventsOf('web');
  if (!event) throw new Error('there is no Event');
  const api = await discoverEventsApi(client, signal);
  const request = api.repeat({ ...event, name: event.metadata.name, atMs: Date.now() }, 2);
  await client.write({ ...request, query: {}, signal, silenceMs: 10_000 });
  client.close();
  const [repeated] = await eventsOf('web');
  expect(repeated?.series?.count).toBe(2);
}

interface EventObject extends KubernetesObject {
  readonly reason: string;
  readonly regarding: Regarding;
  readonly series?: { readonly count: number };
}

async function eventsOf(name: string): Promise<EventObject[]> {
  const path = '/apis/events.k8s.io/v1/namespaces/default/events';
  const { items } = await cluster.api.get<List<EventObject>>(path);
  return items.filter(({ regarding }) => regarding.name === name);
}

/** As JSON. */
async function statusOf(name: string): Promise<string> {
  const path = `/apis/networking.k8s.io/v1/namespaces/default/ingresses/${name}`;
  return JSON.stringify((await cluster.api.get<{ status: unknown }>(path)).status);
}

let ingresses = 0;

/** Something to publish, to write a status for and to tell of. */
async function addIngress(): Promise<void> {
  const name = `web-${++ingresses}`;
  await applyAll(cluster, ingress(name, { [`${name}.example.com`]: { '/': 'web' } }));
}

/** Each has a cluster name of its own, so that each has something to publish. */
function startSyncer(name: string, env: Readonly<Record<string, string>> = {}): SyncerProcess {
  return new SyncerProcess(cluster, {
    KUBECONFIG: kubeconfig,
    ...syncerSettings(cloudflare.origin),
    CAUSEWAY_CLUSTER: name,
    CAUSEWAY_LEASE_NAMESPACE: ACCOUNT.namespace,
    CAUSEWAY_LEASE_NAME: 'causeway',
    CAUSEWAY_WATCH_NAMESPACE_SELECTOR: 'team=shop',
    CAUSEWAY_PUBLISH_ADDRESS: 'edge.example.com',
    ...env,
  });
}

function requests(): AuditEvent[] {
  return auditLog(ACCOUNT.namespace, ACCOUNT.name).filter(({ objectRef }) => objectRef);
}

let keepsParameters = true;

/**
 * Before 1.22 an IngressClass cannot name a ConfigMap: such a server drops where it would be. These are
 * the requests that the syncer makes for one.
 */
async function readParameters(): Promise<void> {
  const client = new ApiClient(loadKubeConfig(kubeconfig));
  const { signal } = new AbortController();
  const parameters = { kind: 'ConfigMap', namespace: ACCOUNT.namespace, name: PARAMETERS } as const;
  try {
    await readOne(client, parameters, 'v1', signal);
    const limits = { timeoutSeconds: 1, silenceMs: 10_000 };
    for await (const _ of await openWatch(client, parameters, 'v1', '0', limits, signal));
  } finally {
    client.close();
  }
}

/** Created and not applied: an old server drops a field that it does not know, and refuses to apply it. */
async function createClassWithParameters(): Promise<void> {
  const path = '/apis/networking.k8s.io/v1/ingressclasses';
  const where = { namespace: ACCOUNT.namespace, scope: 'Namespace' };
  const parameters = { kind: 'ConfigMap', name: PARAMETERS, ...where };
  const { spec, ...rest } = ingressClass('causeway', 'causeway.dev/ingress-controller');
  const created = await cluster.api.post<{ spec: { parameters?: { namespace?: string } } }>(path, {
    ...rest,
    spec: { ...(spec as object), parameters },
  });
  keepsParameters = created.spec.parameters?.namespace !== undefined;
}

function find([group, resource, verb]: readonly string[]): [RoleManifest, Rule] {
  for (const role of roles) {
    const rule = role.rules.find(
      ({ apiGroups, resources, verbs }) =>
        apiGroups[0] === group && resources[0] === resource && verbs[0] === verb,
    );
    if (rule) return [role, rule];
  }
  throw new Error(`deploy/ has no rule that begins with ${verb} ${resource}`);
}

/** The next syncer has to create it. */
async function forgetLease(): Promise<void> {
  const leases = `/apis/coordination.k8s.io/v1/namespaces/${ACCOUNT.namespace}/leases`;
  await cluster.api.delete(`${leases}/causeway`).catch(() => {});
}
