import type { KubernetesKind } from './objects.ts';

interface ResourceType {
  /** The name in addresses and in RBAC rules. */
  readonly plural: string;
  readonly namespaced: boolean;
  /** `group/version`, or `v1` of the core group: the first that the server has is taken. */
  readonly apiVersions: readonly [string, ...string[]];
  /** A server without it is as one with none of them (IngressClass came with 1.18). */
  readonly optional?: true;
}

export const RESOURCES: Readonly<Record<KubernetesKind, ResourceType>> = {
  IngressClass: {
    plural: 'ingressclasses',
    namespaced: false,
    apiVersions: ['networking.k8s.io/v1', 'networking.k8s.io/v1beta1'],
    optional: true,
  },
  Ingress: {
    plural: 'ingresses',
    namespaced: true,
    apiVersions: ['networking.k8s.io/v1', 'networking.k8s.io/v1beta1', 'extensions/v1beta1'],
  },
  Service: { plural: 'services', namespaced: true, apiVersions: ['v1'] },
  EndpointSlice: {
    plural: 'endpointslices',
    namespaced: true,
    apiVersions: ['discovery.k8s.io/v1', 'discovery.k8s.io/v1beta1'],
  },
  Node: { plural: 'nodes', namespaced: false, apiVersions: ['v1'] },
  Secret: { plural: 'secrets', namespaced: true, apiVersions: ['v1'] },
  ConfigMap: { plural: 'configmaps', namespaced: true, apiVersions: ['v1'] },
  Namespace: { plural: 'namespaces', namespaced: false, apiVersions: ['v1'] },
};

/** What one watch sees. */
export interface Collection {
  readonly kind: KubernetesKind;
  /** `null`: all namespaces, or a kind that has none. */
  readonly namespace: string | null;
  /** `null`: all objects. */
  readonly name: string | null;
}

export function collectionPath({ kind, namespace }: Collection, apiVersion: string): string {
  const inNamespace = namespace === null ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${groupPath(apiVersion)}${inNamespace}/${RESOURCES[kind].plural}`;
}

/** Where the server lists the resources of a group's version. */
export function groupPath(apiVersion: string): string {
  return apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
}

/** As RBAC writes it: `ingresses.networking.k8s.io`, `services`. */
export function resourceName(kind: KubernetesKind): string {
  const { plural, apiVersions } = RESOURCES[kind];
  const slash = apiVersions[0].indexOf('/');
  return slash < 0 ? plural : `${plural}.${apiVersions[0].slice(0, slash)}`;
}

/** `ingresses.networking.k8s.io in all namespaces`, `secret shop/tls`: for people. */
export function describeCollection({ kind, namespace, name }: Collection): string {
  if (name !== null) return `${kind.toLowerCase()} ${namespace}/${name}`;
  if (!RESOURCES[kind].namespaced) return resourceName(kind);
  const where = namespace === null ? 'all namespaces' : `namespace ${namespace}`;
  return `${resourceName(kind)} in ${where}`;
}
