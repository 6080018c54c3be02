/** The parts of Kubernetes objects that this folder reads. Everything else passes through as it is. */
export interface KubernetesObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
}

export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
}

export interface Node extends KubernetesObject {
  spec: { podCIDR?: string; unschedulable?: boolean };
  status: { conditions?: Condition[] };
}

export interface Condition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
}

export interface Pod extends KubernetesObject {
  spec: {
    nodeName?: string;
    nodeSelector?: Record<string, string>;
    hostNetwork?: boolean;
    containers: Container[];
  };
  status: { phase?: string; podIP?: string; conditions?: Condition[] };
}

export interface Container {
  name: string;
  image?: string;
  args?: string[];
  ports?: { containerPort: number; protocol?: string }[];
  lifecycle?: {
    preStop?: { exec?: { command?: string[] }; sleep?: { seconds: number } };
  };
}

export interface Service extends KubernetesObject {
  spec: { ports?: { name?: string; port: number; nodePort?: number }[] };
}

export interface Deployment extends KubernetesObject {
  spec: { replicas?: number };
  status: {
    observedGeneration?: number;
    replicas?: number;
    updatedReplicas?: number;
    availableReplicas?: number;
  };
}

export interface List<T> {
  metadata: { resourceVersion: string };
  items: T[];
}

export interface WatchEvent<T> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: T;
}

/** Whether a condition of this type is True. */
export function isTrue(conditions: readonly Condition[] | undefined, type: string): boolean {
  return conditions?.some((each) => each.type === type && each.status === 'True') ?? false;
}
