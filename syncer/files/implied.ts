import type { EndpointSlice, KubernetesObject, Node, Service } from '../kubernetes/objects.ts';

const IMPLIED_NODE = 'implied-node';

/**
 * What a cluster would have made and files leave out: a node, when no file has one, and the
 * readiness of Services with a selector for which no file has an EndpointSlice. An EndpointSlice
 * that is there means what it says, and a cluster never gets this leniency.
 */
export function withImplied(
  objects: readonly KubernetesObject[],
  nodeAddress: string,
): readonly KubernetesObject[] {
  const nodes = objects.filter((it) => it.kind === 'Node');
  const implied: KubernetesObject[] = [];
  if (nodes.length === 0) implied.push(impliedNode(nodeAddress));
  const nodeNames = nodes.length === 0 ? [IMPLIED_NODE] : nodes.map((it) => it.name);
  const sliced = new Set(
    objects.flatMap((it) => (it.kind === 'EndpointSlice' ? [`${it.namespace}/${it.service}`] : [])),
  );
  for (const object of objects) {
    if (object.kind !== 'Service' || !object.hasSelector) continue;
    if (sliced.has(`${object.namespace}/${object.name}`)) continue;
    implied.push(impliedSlice(object, nodeNames, nodeAddress));
  }
  return [...objects, ...implied];
}

function impliedNode(address: string): Node {
  return {
    kind: 'Node',
    namespace: '',
    name: IMPLIED_NODE,
    createdAtMs: Number.POSITIVE_INFINITY,
    uid: '',
    labels: {},
    addresses: [{ type: 'InternalIP', address }],
    ready: true,
    excluded: false,
  };
}

function impliedSlice(
  { namespace, name, ports }: Service,
  nodeNames: readonly string[],
  address: string,
): EndpointSlice {
  return {
    kind: 'EndpointSlice',
    namespace,
    name: `${name}-implied`,
    createdAtMs: Number.POSITIVE_INFINITY,
    uid: '',
    service: name,
    ports: ports.map((port) => ({ name: port.name, port: port.port })),
    endpoints: nodeNames.map((nodeName) => ({
      addresses: [address],
      ready: true,
      serving: true,
      terminating: false,
      nodeName,
    })),
  };
}
