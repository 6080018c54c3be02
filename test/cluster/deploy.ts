import { cpSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { currentEdge } from './edge.ts';
import type { Manifest } from './manifests.ts';
import { run } from './processes.ts';

/** The ServiceAccount of deploy/. */
export const ACCOUNT = { namespace: 'causeway-system', name: 'causeway' };

const DEPLOY = fileURLToPath(new URL('../../deploy', import.meta.url));
export const CHART = join(DEPLOY, 'helm', 'causeway');

/** What the chart insists on; the same as in the kustomize example. */
export const VALUES = [
  `cloudflare.accountId=${'0'.repeat(32)}`,
  `cloudflare.kvNamespaceId=${'0'.repeat(32)}`,
  'cloudflare.d1DatabaseId=00000000-0000-0000-0000-000000000000',
].flatMap((value) => ['--set-string', value]);

export interface KustomizeOptions {
  /** Of deploy/kustomize/overlays. Default `example`. */
  readonly overlay?: string;
  /** Of deploy/kustomize/components. */
  readonly components?: readonly string[];
  /** Further literals of the settings. */
  readonly settings?: readonly string[];
}

/** `kubectl kustomize`, as text. */
export function kustomize(options: KustomizeOptions = {}): Promise<string> {
  const { overlay = 'example', components = [], settings = [] } = options;
  // A user's own folder, which names ours; so that nothing is written into the checkout.
  const dir = mkdtempSync(join(currentEdge().dir, 'kustomize-'));
  cpSync(join(DEPLOY, 'kustomize'), join(dir, 'kustomize'), { recursive: true });
  const mine = join(dir, 'mine');
  mkdirSync(mine);
  const path = (...parts: string[]) => relative(mine, join(dir, 'kustomize', ...parts));
  const kustomization = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    resources: [path('overlays', overlay)],
    components: components.map((name) => path('components', name)),
    configMapGenerator: [
      {
        name: 'causeway-settings',
        namespace: ACCOUNT.namespace,
        behavior: 'merge',
        literals: settings,
      },
    ],
  };
  // JSON is YAML.
  writeFileSync(join(mine, 'kustomization.yaml'), JSON.stringify(kustomization));
  return run([join(currentEdge().tools, 'kubectl'), 'kustomize', mine]);
}

/** Runs helm with folders of its own, so that nothing of the machine's plays a part. */
export function helm(args: readonly string[]): Promise<string> {
  const home = join(currentEdge().dir, 'helm');
  const env = { HELM_CACHE_HOME: home, HELM_CONFIG_HOME: home, HELM_DATA_HOME: home };
  return run([join(currentEdge().tools, 'helm'), ...args], { env });
}

/** `helm template` as the kustomize example has it, as text. */
export function helmTemplate(args: readonly string[] = []): Promise<string> {
  const { namespace, name } = ACCOUNT;
  const release = ['template', name, CHART, '--namespace', namespace];
  return helm([...release, ...VALUES, '--set', 'createNamespace=true', ...args]);
}

export function documents(yaml: string): Manifest[] {
  return parseAllDocuments(yaml)
    .map((document) => document.toJS() as Manifest | null)
    .filter((it) => it !== null);
}

const ACCESS = ['Namespace', 'ServiceAccount', 'Role', 'RoleBinding', 'ClusterRole'];

/** The namespace, the account and what it may do: all that a syncer outside of a pod needs. */
export async function accessManifests(options: KustomizeOptions = {}): Promise<Manifest[]> {
  const kinds = [...ACCESS, 'ClusterRoleBinding'];
  return documents(await kustomize(options)).filter(({ kind }) => kinds.includes(kind));
}
