import { isTrue, type Node, type Pod } from './objects.ts';
import { tcpPorts } from './pod-sandbox.ts';

/**
 * The node for a pod: of those that may take it, the one with the fewest pods, then the first by name.
 *
 * A node may take it when it is Ready and not cordoned, has the labels of the pod's `nodeSelector`, and,
 * for a pod with `hostNetwork`, when no other such pod there uses one of its ports. `undefined` when no
 * node may: the pod stays Pending.
 */
export function placePod(
  pod: Pod,
  nodes: readonly Node[],
  pods: readonly Pod[],
): string | undefined {
  const podsOn = (node: Node) => pods.filter((each) => each.spec.nodeName === node.metadata.name);
  const candidates = nodes
    .filter((node) => !node.spec.unschedulable && isTrue(node.status.conditions, 'Ready'))
    .filter((node) => hasLabels(node, pod.spec.nodeSelector ?? {}))
    .filter((node) => !podsOn(node).some((other) => collide(pod, other)))
    .map((node) => ({ name: node.metadata.name, pods: podsOn(node).length }));
  candidates.sort((a, b) => a.pods - b.pods || (a.name < b.name ? -1 : 1));
  return candidates[0]?.name;
}

function hasLabels(node: Node, wanted: Record<string, string>): boolean {
  return Object.entries(wanted).every(([key, value]) => node.metadata.labels?.[key] === value);
}

function collide(a: Pod, b: Pod): boolean {
  if (!a.spec.hostNetwork || !b.spec.hostNetwork) return false;
  const taken = new Set(tcpPorts(b));
  return tcpPorts(a).some((port) => taken.has(port));
}
