/**
 * deploy/, rendered by the real helm and the real kubectl and taken by the real API server: the two
 * ways to install say the same, and a server accepts what they say.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { environmentName, OPTION_TABLE } from '../../syncer/compile/option-table.ts';
import { Cluster } from './cluster.ts';
import { ACCOUNT, CHART, documents, helm, helmTemplate, kustomize, VALUES } from './deploy.ts';
import type { Manifest } from './manifests.ts';
import type { KubernetesObject, List } from './objects.ts';

let cluster: Cluster;
/** `policy-v1beta1` for a server before 1.21, as our own is; nothing for a current one. */
let old: string[] = [];
let kubeVersion = '';

beforeAll(async () => {
  cluster = await Cluster.start({ nodes: 1, externalHosts: 0 });
  const { groups } = await cluster.api.get<{ groups: ApiGroup[] }>('/apis');
  const policy = groups.find(({ name }) => name === 'policy');
  const isOld = !policy?.versions.some(({ version }) => version === 'v1');
  old = isOld ? ['policy-v1beta1'] : [];
  kubeVersion = (await cluster.api.get<{ gitVersion: string }>('/version')).gitVersion;
});

afterAll(() => cluster?.stop());

interface ApiGroup {
  readonly name: string;
  readonly versions: readonly { readonly version: string }[];
}

describe('helm and kustomize say the same', () => {
  const namespaces = ['--set', 'secrets.namespaces={default}'];
  const optional = ['serviceMonitor', 'networkPolicy'].flatMap((it) => [
    '--set',
    `${it}.enabled=true`,
  ]);

  test.each([
    ['by default', [], {}],
    ['with Secrets of named namespaces only', namespaces, { overlay: 'named-namespaces' }],
    [
      'for single namespaces',
      ['--set', 'watchNamespaces={default}'],
      { overlay: 'watch-namespaces' },
    ],
    [
      'with a namespace selector',
      ['--set-string', 'settings.CAUSEWAY_WATCH_NAMESPACE_SELECTOR=team'],
      { components: ['namespace-selector'], settings: ['CAUSEWAY_WATCH_NAMESPACE_SELECTOR=team'] },
    ],
    ['with what is optional', optional, { components: ['service-monitor', 'network-policy'] }],
    ['for a server before 1.21', ['--kube-version', '1.20.2'], { components: ['policy-v1beta1'] }],
  ] as const)('%s', async (_, args, options) => {
    const [chart, kustomized] = await Promise.all([helmTemplate(args), kustomize(options)]);
    expect(comparable(chart)).toEqual(comparable(kustomized));
  });
});

describe('the chart', () => {
  test('passes helm lint', async () => {
    const report = await helm(['lint', '--strict', CHART, ...VALUES]);
    expect(report).toContain('0 chart(s) failed');
  });

  test.each([
    ['without an account', ['--set-string', 'cloudflare.accountId=']],
    ['with a setting that there is not', ['--set-string', 'settings.CAUSEWAY_DAILER=vpc']],
    ['with a value that there is not', ['--set', 'replicaCount=3']],
  ])('is refused %s', async (_, args) => {
    await expect(helmTemplate(args)).rejects.toThrow(/at '(\/cloudflare|\/settings|')/);
  });

  test('knows every option of the controller, and those of certificates', async () => {
    const names = OPTION_TABLE.map(environmentName).filter((it) => !(it in valuesOfTheirOwn));
    const values = [...names, ...settingsOfSync].map((it) => [it, samples[it] ?? 'true']);
    const settings = values.flatMap(([name, value]) => [
      '--set-string',
      `settings.${name}=${value}`,
    ]);
    const others = Object.entries(valuesOfTheirOwn).flatMap(([, value]) => ['--set', value]);
    const config = documents(await helmTemplate([...settings, ...others])).find(
      ({ kind }) => kind === 'ConfigMap',
    );
    expect(config?.data).toMatchObject(Object.fromEntries(values));
    expect(Object.keys(config?.data ?? {})).toEqual(
      expect.arrayContaining(Object.keys(valuesOfTheirOwn)),
    );
  });

  test('gives a second release names, a class and a Lease of its own', async () => {
    const args = ['template', 'second', CHART, '--namespace', 'other', ...VALUES];
    const chart = await helm([...args, '--set', 'ingressClass.name=second']);
    const names = new Set(documents(chart).map(({ metadata }) => metadata.name));
    expect([...names].sort()).toEqual([
      'second',
      'second-routing',
      'second-secrets',
      'second-settings',
    ]);
    expect(chart).toContain('CAUSEWAY_INGRESS_CLASS: "second"');
  });
});

/** Options that the chart has to know more about than their text. */
const valuesOfTheirOwn: Readonly<Record<string, string>> = {
  CAUSEWAY_CONTROLLER_NAME: 'ingressClass.controller=example.com/mine',
  CAUSEWAY_INGRESS_CLASS: 'ingressClass.name=mine',
  CAUSEWAY_WATCH_NAMESPACE: 'watchNamespaces={a,b}',
};

/** What is set for the syncer and is no option of compiling; `config.ts` reads them. */
const settingsOfSync = [
  'CAUSEWAY_CERTIFICATES',
  'CAUSEWAY_ZONE_HSTS',
  'CAUSEWAY_ZONE_MIN_TLS_VERSION',
];

const samples: Readonly<Record<string, string>> = {
  CAUSEWAY_CERTIFICATES: 'managed',
  CAUSEWAY_HSTS_MAX_AGE: '300',
  CAUSEWAY_ZONE_HSTS: 'max-age=300',
  CAUSEWAY_ZONE_MIN_TLS_VERSION: '1.2',
  CAUSEWAY_HOST_OWNERSHIP: 'strict',
  CAUSEWAY_DEFAULT_CLASS: 'served',
  CAUSEWAY_DIALER: 'vpc',
};

describe('the API server takes', () => {
  const dryRun = ['apply', '--dry-run=server', '--validate=true', '-f', '-'];

  test('kustomize, with a dry run first', async () => {
    const { namespace } = ACCOUNT;
    const yaml = await kustomize({ components: [...old, 'network-policy'] });
    // A dry run creates no namespace for the rest to be in.
    await cluster.kubectl(['create', 'namespace', namespace]);
    const planned = await cluster.kubectl(dryRun, yaml);
    expect(planned.trim().split('\n')).toHaveLength(documents(yaml).length);
    await cluster.apply(yaml);
    await expectDeployed();
    await cluster.kubectl(['delete', '-f', '-', '--wait=true'], yaml);
  });

  test('what helm renders, in a dry run', async () => {
    await cluster.kubectl(['create', 'namespace', ACCOUNT.namespace]);
    const args = ['--kube-version', kubeVersion, '--set', 'networkPolicy.enabled=true'];
    const yaml = await helmTemplate([...args, '--set', 'secrets.namespaces={default}']);
    const planned = await cluster.kubectl(dryRun, yaml);
    expect(planned.trim().split('\n')).toHaveLength(documents(yaml).length);
  });

  test('helm install, upgrade and uninstall', async () => {
    const { namespace, name } = ACCOUNT;
    const target = ['--kubeconfig', cluster.adminKubeconfig, '--namespace', namespace];
    await helm(['install', name, CHART, ...target, ...VALUES]);
    await expectDeployed();
    const named = [...VALUES, '--set', 'secrets.namespaces={default}'];
    await helm(['upgrade', name, CHART, ...target, ...named]);
    expect(await namesOf('rbac.authorization.k8s.io/v1/clusterrolebindings')).not.toContain(
      `${name}-secrets`,
    );
    const inDefault = 'rbac.authorization.k8s.io/v1/namespaces/default/rolebindings';
    expect(await namesOf(inDefault)).toEqual([`${name}-secrets`]);
    await helm(['uninstall', name, ...target]);
    expect(await namesOf(inDefault)).toEqual([]);
    expect(await namesOf('networking.k8s.io/v1/ingressclasses')).toEqual([]);
  });
});

/** Two pods come of it, with the account's name on them. */
async function expectDeployed(): Promise<void> {
  const { namespace, name } = ACCOUNT;
  await cluster.rolledOut(namespace, name);
  const pods = await cluster.api.get<List<Pod>>(`/api/v1/namespaces/${namespace}/pods`);
  const accounts = pods.items.map(({ spec }) => spec.serviceAccountName);
  expect(accounts).toEqual([name, name]);
}

interface Pod extends KubernetesObject {
  readonly spec: { readonly serviceAccountName: string };
}

async function namesOf(path: string): Promise<string[]> {
  const { items } = await cluster.api.get<List<KubernetesObject>>(`/apis/${path}`);
  return items.map(({ metadata }) => metadata.name);
}

/** By kind, namespace and name, without what either tool adds of its own. */
function comparable(yaml: string): Record<string, unknown> {
  const entries = documents(withoutHash(yaml)).map((manifest): [string, unknown] => {
    const { kind, metadata } = manifest;
    const key = `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;
    return [key, withoutHelm(manifest)];
  });
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** kustomize rolls changed settings out by the ConfigMap's name, helm by an annotation. */
function withoutHash(yaml: string): string {
  return yaml.replace(/(causeway-settings)-[a-z0-9]{10}\b/g, '$1');
}

const HELM_KEYS = [
  'helm.sh/chart',
  'app.kubernetes.io/managed-by',
  'app.kubernetes.io/version',
  'checksum/settings',
];

function withoutHelm(manifest: Manifest): unknown {
  return JSON.parse(JSON.stringify(manifest), (key, value: unknown) => {
    if (HELM_KEYS.includes(key)) return undefined;
    const isEmptied = key === 'annotations' && Object.keys(value ?? {}).length === 0;
    return isEmptied ? undefined : value;
  });
}
