import { compareText } from '../snapshot/precedence.ts';
import type { Problem } from '../snapshot/types.ts';
import type {
  ConfigMap,
  EndpointSlice,
  Ingress,
  IngressClass,
  KubernetesObject,
  Namespace,
  Node,
  ObjectMeta,
  Secret,
  Service,
} from './kubernetes/objects.ts';

/** The Kubernetes objects read at one moment, each list oldest first. */
export interface ClusterState {
  readonly ingressClasses: readonly IngressClass[];
  readonly ingresses: readonly Ingress[];
  readonly services: readonly Service[];
  readonly endpointSlices: readonly EndpointSlice[];
  readonly nodes: readonly Node[];
  readonly secrets: readonly Secret[];
  readonly configMaps: readonly ConfigMap[];
  /** Only where a selector asks for their labels. */
  readonly namespaces: readonly Namespace[];
  /** Found while reading: objects that are not what their kind says. */
  readonly problems: readonly Problem[];
}

/**
 * The order between objects that claim the same thing: oldest `creationTimestamp` first, then
 * `namespace/name` ascending.
 */
export function compareAge(a: ObjectMeta, b: ObjectMeta): number {
  if (a.createdAtMs !== b.createdAtMs) return a.createdAtMs < b.createdAtMs ? -1 : 1;
  return compareText(a.namespace, b.namespace) || compareText(a.name, b.name);
}

export function clusterState(
  objects: Iterable<KubernetesObject>,
  problems: readonly Problem[] = [],
): ClusterState {
  const all = [...objects].sort(compareAge);
  const of = <K extends KubernetesObject['kind']>(kind: K) =>
    all.filter((object): object is Extract<KubernetesObject, { kind: K }> => object.kind === kind);
  return {
    ingressClasses: of('IngressClass'),
    ingresses: of('Ingress'),
    services: of('Service'),
    endpointSlices: of('EndpointSlice'),
    nodes: of('Node'),
    secrets: of('Secret'),
    configMaps: of('ConfigMap'),
    namespaces: of('Namespace'),
    problems,
  };
}
