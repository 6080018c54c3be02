/**
 * The Kubernetes objects the compiler reads, after the border: only the fields that matter, with
 * the API's defaults filled in, and the same for an object of a file and of a cluster.
 */
import type { ObjectRef } from '../../snapshot/types.ts';
import type { SecretText } from '../secret-text.ts';

/** How the annotations of ingress-nginx begin, which Ingresses carry already. */
export const NGINX_ANNOTATIONS = 'nginx.ingress.kubernetes.io/';

export interface ObjectMeta {
  readonly namespace: string;
  readonly name: string;
  /** `metadata.creationTimestamp` in ms since the epoch; Infinity (youngest) where there is none. */
  readonly createdAtMs: number;
  /** Empty in a file. */
  readonly uid: string;
}

export interface IngressClass extends ObjectMeta {
  readonly kind: 'IngressClass';
  readonly controller: string;
  /** `spec.parameters`: the ConfigMap with the options of this class. */
  readonly parameters: ClassParameters | null;
  /** Annotation `ingressclass.kubernetes.io/is-default-class`. */
  readonly isDefault: boolean;
}

/** As written; only a ConfigMap in a namespace is of use to us. */
export interface ClassParameters {
  readonly apiGroup: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

export type ServicePortRef = { readonly number: number } | { readonly name: string };

export type IngressBackend =
  | { readonly type: 'Service'; readonly service: string; readonly port: ServicePortRef }
  | { readonly type: 'Resource'; readonly resource: string };

export type IngressPathType = 'Exact' | 'Prefix' | 'ImplementationSpecific';

export interface IngressPath {
  readonly path: string;
  readonly pathType: IngressPathType;
  readonly backend: IngressBackend;
}

export interface IngressRule {
  /** As written; empty for the catch-all host. */
  readonly host: string;
  readonly paths: readonly IngressPath[];
}

export interface IngressTls {
  readonly hosts: readonly string[];
  /** Empty when the certificate is to come from elsewhere. */
  readonly secretName: string;
}

/** One entry of `status.loadBalancer.ingress`. */
export interface LoadBalancerAddress {
  /** Empty where there is a hostname. */
  readonly ip: string;
  readonly hostname: string;
  /** How many `ports` are listed; we never write any. */
  readonly ports: number;
}

/**
 * What is written to an Ingress and means nothing to routing: a change of it alone wakes nobody. It
 * is as new as the last event of the watch.
 */
export interface IngressRecord {
  readonly resourceVersion: string;
  /** `status.loadBalancer.ingress`. */
  readonly addresses: readonly LoadBalancerAddress[];
  /** Who wrote to `status`, of `metadata.managedFields`; empty on servers that do not keep it. */
  readonly statusManagers: readonly string[];
}

export interface Ingress extends ObjectMeta {
  readonly kind: 'Ingress';
  readonly annotations: Readonly<Record<string, string>>;
  readonly className: string | null;
  readonly defaultBackend: IngressBackend | null;
  readonly rules: readonly IngressRule[];
  readonly tls: readonly IngressTls[];
  readonly record: IngressRecord;
}

export interface ServicePort {
  readonly name: string;
  readonly port: number;
  /** Zero where none is allocated. */
  readonly nodePort: number;
  readonly protocol: string;
}

export interface Service extends ObjectMeta {
  readonly kind: 'Service';
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
  readonly hasSelector: boolean;
  /** Empty when there is none yet; `None` for a headless Service. */
  readonly clusterIP: string;
  readonly externalName: string;
  readonly externalIPs: readonly string[];
  readonly externalTrafficPolicy: 'Cluster' | 'Local';
  readonly ports: readonly ServicePort[];
  /** `status.loadBalancer.ingress`, which the status of Ingresses may be a copy of. */
  readonly loadBalancer: readonly LoadBalancerAddress[];
}

export interface SliceEndpoint {
  readonly addresses: readonly string[];
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  /** Empty when unknown or outside the cluster. */
  readonly nodeName: string;
}

/** An EndpointSlice, or hand-written Endpoints brought into that form. */
export interface EndpointSlice extends ObjectMeta {
  readonly kind: 'EndpointSlice';
  /** Label `kubernetes.io/service-name`. */
  readonly service: string;
  /** `port` is `null` when the slice means every port. */
  readonly ports: readonly { readonly name: string; readonly port: number | null }[];
  readonly endpoints: readonly SliceEndpoint[];
}

/** `spec.unschedulable` is not read: the pods of a cordoned node go on. */
export interface Node extends ObjectMeta {
  readonly kind: 'Node';
  readonly labels: Readonly<Record<string, string>>;
  readonly addresses: readonly { readonly type: string; readonly address: string }[];
  readonly ready: boolean;
  /** Label `node.kubernetes.io/exclude-from-external-load-balancers`. */
  readonly excluded: boolean;
}

export interface Secret extends ObjectMeta {
  readonly kind: 'Secret';
  readonly type: string;
  /** PEM; empty when the key is missing. */
  readonly certificate: string;
  readonly privateKey: SecretText;
  /** `ca.crt`, PEM: the authorities of clients; empty when the key is missing. */
  readonly authorities: string;
  /** Whether there is a `ca.crl`. */
  readonly hasRevocationList: boolean;
}

export interface ConfigMap extends ObjectMeta {
  readonly kind: 'ConfigMap';
  /** `null` for a value that is no text, which only a file can have. */
  readonly data: Readonly<Record<string, string | null>>;
}

export interface Namespace extends ObjectMeta {
  readonly kind: 'Namespace';
  readonly labels: Readonly<Record<string, string>>;
}

export type KubernetesObject =
  | IngressClass
  | Ingress
  | Service
  | EndpointSlice
  | Node
  | Secret
  | ConfigMap
  | Namespace;
export type KubernetesKind = KubernetesObject['kind'];

export function refOf({ kind, namespace, name }: KubernetesObject): ObjectRef {
  return { kind, namespace, name };
}

/** `Ingress default/web`, `Node worker-1`: how messages name an object. */
export function describeRef({ kind, namespace, name }: ObjectRef): string {
  return namespace === '' ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
}
