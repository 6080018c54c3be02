import type { Pod } from './objects.ts';
import type { PodSandbox } from './pod-sandbox.ts';

/** The status of a pod whose process accepts connections. */
export function runningStatus(pod: Pod, { node, address }: PodSandbox) {
  const now = new Date().toISOString();
  const condition = (type: string) => ({ type, status: 'True', lastTransitionTime: now });
  return {
    phase: 'Running',
    hostIP: node.address,
    podIP: address,
    podIPs: [{ ip: address }],
    startTime: now,
    conditions: ['PodScheduled', 'Initialized', 'ContainersReady', 'Ready'].map(condition),
    containerStatuses: pod.spec.containers.map(({ name, image = '' }) => ({
      name,
      image,
      imageID: '',
      ready: true,
      started: true,
      restartCount: 0,
      state: { running: { startedAt: now } },
    })),
  };
}

/** The status of a pod whose process has ended although nobody asked it to. */
export function failedStatus() {
  return { phase: 'Failed', reason: 'ProcessEnded', conditions: readyConditions(false) };
}

/** The conditions that decide whether a Service sends traffic to a pod. */
export function readyConditions(isReady: boolean) {
  const status = isReady ? 'True' : 'False';
  const lastTransitionTime = new Date().toISOString();
  return ['ContainersReady', 'Ready'].map((type) => ({ type, status, lastTransitionTime }));
}
