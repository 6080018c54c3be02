import type { Cluster } from './cluster.ts';
import { ACCOUNT, accessManifests } from './deploy.ts';
import type { ObjectMeta } from './objects.ts';
import { LINGERS_MS } from './pod-sandbox.ts';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Readonly<ObjectMeta>;
  readonly [field: string]: unknown;
}

/**
 * Server-side apply of objects, in this order. What `kubectl apply` does too, but kubectl asks no more
 * than five times a second. The list items that it merges need their `protocol`.
 */
export async function applyAll(cluster: Cluster, ...manifests: Manifest[]): Promise<void> {
  for (const manifest of manifests) {
    const path = `${collectionPath(manifest)}/${manifest.metadata.name}`;
    await cluster.api.patch(`${path}?fieldManager=tests&force=true`, manifest, 'apply');
  }
}

function collectionPath({ apiVersion, kind, metadata }: Manifest): string {
  const group = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const within = metadata.namespace ? `/namespaces/${metadata.namespace}` : '';
  const plural = kind.toLowerCase() + (kind.endsWith('s') ? 'es' : 's');
  return `${group}${within}/${plural}`;
}

export function namespace(name: string): Manifest {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
}

export interface DeploymentOptions {
  namespace?: string;
  /** Default 1. */
  replicas?: number;
  /** Where its pods listen. Default 8080. */
  port?: number;
  /** The only node for its pods. */
  node?: string;
  /** How long a pod that is asked to end still takes connections (a preStop hook). Default 0. */
  drainSeconds?: number;
  /** How long nobody must have connected before a process that is asked to end stops listening. Default 0. */
  lingersMs?: number;
}

/** Pods that say they are of the Service `name`. An update starts a new pod before an old one ends. */
export function deployment(name: string, options: DeploymentOptions = {}): Manifest {
  const { namespace = 'default', replicas = 1, port = 8080, node } = options;
  const { drainSeconds = 0, lingersMs = 0 } = options;
  const sleep = { preStop: { exec: { command: ['sleep', String(drainSeconds)] } } };
  const container = {
    name: 'echo',
    image: 'echo',
    ports: [{ containerPort: port, protocol: 'TCP' }],
    ...(drainSeconds > 0 && { lifecycle: sleep }),
  };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      template: {
        metadata: {
          labels: { app: name },
          annotations: { [LINGERS_MS]: String(lingersMs) },
        },
        spec: {
          containers: [container],
          ...(node !== undefined && { nodeSelector: { 'kubernetes.io/hostname': node } }),
        },
      },
    },
  };
}

export interface ServiceOptions {
  namespace?: string;
  nodePort?: number;
  /** Default 8080. */
  targetPort?: number;
  externalTrafficPolicy?: 'Cluster' | 'Local';
}

/** Port 80 of the pods of the Deployment of that name. */
export function nodePortService(name: string, options: ServiceOptions = {}): Manifest {
  const { namespace = 'default', nodePort, targetPort = 8080, externalTrafficPolicy } = options;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    spec: {
      type: 'NodePort',
      selector: { app: name },
      ...(externalTrafficPolicy && { externalTrafficPolicy }),
      ports: [{ port: 80, protocol: 'TCP', targetPort, ...(nodePort && { nodePort }) }],
    },
  };
}

/** Port 80 of the pods of the Deployment of that name, for those inside the cluster only. */
export function clusterIpService(name: string): Manifest {
  const ports = [{ port: 80, protocol: 'TCP', targetPort: 8080 }];
  return { ...nodePortService(name), spec: { selector: { app: name }, ports } };
}

/** A Service without a selector: addresses outside the cluster, in an EndpointSlice. */
export function outsideService(name: string): Manifest {
  return { ...nodePortService(name), spec: { ports: [{ port: 80, protocol: 'TCP' }] } };
}

/** The addresses of an {@link outsideService}, all with port 8080; in the version that this server has. */
export async function endpointSlice(
  cluster: Cluster,
  service: string,
  addresses: readonly string[],
): Promise<Manifest> {
  const current = 'discovery.k8s.io/v1';
  const apiVersion = await cluster.api.get(`/apis/${current}`).then(
    () => current,
    () => `${current}beta1`,
  );
  const labels = { 'kubernetes.io/service-name': service };
  return {
    apiVersion,
    kind: 'EndpointSlice',
    metadata: { name: `${service}-1`, namespace: 'default', labels },
    addressType: 'IPv4',
    ports: [{ name: '', protocol: 'TCP', port: 8080 }],
    endpoints: addresses.map((address) => ({ addresses: [address] })),
  };
}

export interface IngressOptions {
  namespace?: string;
  /** Default `causeway`. */
  className?: string;
}

/** @param rules host to path to Service; the paths are prefixes and the Services' port is 80. */
export function ingress(
  name: string,
  rules: Readonly<Record<string, Readonly<Record<string, string>>>>,
  { namespace = 'default', className = 'causeway' }: IngressOptions = {},
): Manifest {
  const backend = (service: string) => ({ service: { name: service, port: { number: 80 } } });
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name, namespace },
    spec: {
      ingressClassName: className,
      rules: Object.entries(rules).map(([host, paths]) => ({
        host,
        http: {
          paths: Object.entries(paths).map(([path, service]) => ({
            path,
            pathType: 'Prefix',
            backend: backend(service),
          })),
        },
      })),
    },
  };
}

/** The same Ingress with one entry in `spec.tls`. @param hosts default: those of its rules. */
export function withTls(manifest: Manifest, secretName: string, hosts?: string[]): Manifest {
  const spec = manifest.spec as { readonly rules: readonly { readonly host: string }[] };
  const tls = [{ hosts: hosts ?? spec.rules.map(({ host }) => host), secretName }];
  return { ...manifest, spec: { ...spec, tls } };
}

export function ingressClass(name: string, controller: string): Manifest {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IngressClass',
    metadata: { name },
    spec: { controller },
  };
}

/**
 * The account that deploy/ makes for the syncer, with what it needs and no more: a gateway that ran as
 * admin would not show a permission that is missing. Returns the path of a kubeconfig for it.
 */
export async function syncerKubeconfig(cluster: Cluster): Promise<string> {
  await applyAll(cluster, ...(await accessManifests()));
  return cluster.serviceAccountKubeconfig(ACCOUNT.namespace, ACCOUNT.name);
}
