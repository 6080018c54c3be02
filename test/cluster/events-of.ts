import type { Cluster } from './cluster.ts';
import type { KubernetesObject, List } from './objects.ts';

/** What was told about one object (events.k8s.io/v1). */
export interface ToldEvent extends KubernetesObject {
  readonly type: string;
  readonly reason: string;
  readonly note: string;
  readonly regarding: { readonly kind: string; readonly name: string };
}

export async function eventsOf(
  cluster: Cluster,
  name: string,
  namespace = 'default',
): Promise<ToldEvent[]> {
  const path = `/apis/events.k8s.io/v1/namespaces/${namespace}/events`;
  const { items } = await cluster.api.get<List<ToldEvent>>(path);
  return items.filter(({ regarding }) => regarding.name === name);
}
