import { adminPaths } from '../support/admin-paths.ts';
import type { KeyLeaks } from '../support/key-leaks.ts';
import type { Cluster } from './cluster.ts';
import type { GatewayProcess } from './gateway-process.ts';

/** Kinds that say something of what was done, Secrets aside: these hold the keys. */
const KINDS = [
  'ingresses',
  'services',
  'endpoints',
  'endpointslices',
  'events',
  'configmaps',
  'leases',
  'pods',
  'nodes',
];

/** Looks for keys in all that a gateway keeps, says and answers. Returns what was found. */
export async function leaksOfGateway(leaks: KeyLeaks, gateway: GatewayProcess): Promise<string[]> {
  const paths = adminPaths();
  const answers = await Promise.all(paths.map((path) => gateway.adminAnswer(path)));
  return [
    ...leaks.inFolder(gateway.persist),
    ...leaks.in("the gateway's log", gateway.log()),
    ...answers.flatMap((answer, index) => leaks.in(paths[index] ?? '', answer)),
  ];
}

/** The same for the objects of a cluster, Secrets aside. */
export async function leaksOfObjects(leaks: KeyLeaks, cluster: Cluster): Promise<string[]> {
  const json = await cluster.kubectl(['get', KINDS.join(','), '--all-namespaces', '-o', 'json']);
  return [...leaks.in('the objects', json)];
}
