import type { Cluster } from './cluster.ts';
import type { List, Pod } from './objects.ts';

/** The pods of a Deployment of the namespace `default`, with those that are about to end. */
export async function podsOf(cluster: Cluster, deployment: string): Promise<Pod[]> {
  const path = `/api/v1/namespaces/default/pods?labelSelector=app%3D${deployment}`;
  return (await cluster.api.get<List<Pod>>(path)).items;
}
