import { join } from 'node:path';
import type { KubernetesApi } from './api.ts';
import type { Host, Network } from './network.ts';
import { type Processes, type RunningProcess, run } from './processes.ts';
import { GiveUp, waitFor } from './wait.ts';

/** Pods get their addresses from here: 10.244.N.0/24 on node N. */
const POD_RANGE = '10.244.0.0/16';

const NOT_READY = 'node.kubernetes.io/not-ready';

/**
 * What a kubelet of before Kubernetes 1.28 sets up, and a kube-proxy of that time counts on: what it marks
 * is dropped. It marks the traffic for `externalTrafficPolicy: Local` on nodes without a pod, which would
 * be accepted else, and never answered: see {@link Nodes.untilNodePort}.
 */
const KUBELET_RULES = `*nat
:KUBE-MARK-DROP - [0:0]
-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
-A INPUT -j KUBE-FIREWALL
-A OUTPUT -j KUBE-FIREWALL
COMMIT
`;

export interface NodeOptions {
  /** A second address, which the Node object names as its ExternalIP. Any that no other host has. */
  externalAddress?: string;
  labels?: Record<string, string>;
}

/** One node: a host with a kube-proxy, and no kubelet. */
export interface ClusterNode extends Host {
  /** N in the name nodeN, the address 10.0.0.(10+N) and the pod range 10.244.N.0/24. */
  readonly index: number;
  readonly externalAddress: string | undefined;
}

/** The nodes of the cluster: their hosts, their Node objects and their kube-proxies. */
export class Nodes {
  readonly #network: Network;
  readonly #processes: Processes;
  readonly #api: KubernetesApi;
  readonly #proxyArgv: readonly string[];
  readonly #nodes = new Map<string, ClusterNode & { proxy: RunningProcess }>();

  constructor(network: Network, processes: Processes, api: KubernetesApi, proxy: ProxySpec) {
    this.#network = network;
    this.#processes = processes;
    this.#api = api;
    this.#proxyArgv = [
      join(proxy.binaries, 'kube-proxy'),
      `--kubeconfig=${proxy.kubeconfig}`,
      `--cluster-cidr=${POD_RANGE}`,
      '--proxy-mode=iptables',
      // Limits of the whole machine, which a network namespace may not set.
      '--conntrack-max-per-core=0',
      '--conntrack-tcp-timeout-established=0',
      '--conntrack-tcp-timeout-close-wait=0',
    ];
  }

  /** The nodes there are, in the order of their creation. */
  list(): ClusterNode[] {
    return [...this.#nodes.values()];
  }

  has(name: string): boolean {
    return this.#nodes.has(name);
  }

  /** Throws when there is no such node. */
  get(name: string): ClusterNode {
    const node = this.#nodes.get(name);
    if (!node) throw new Error(`the cluster has no node ${name}`);
    return node;
  }

  /** Adds the node with the lowest free number, and waits until its kube-proxy has written its rules. */
  async add({ externalAddress, labels = {} }: NodeOptions = {}): Promise<ClusterNode> {
    let index = 1;
    while (this.#nodes.has(`node${index}`)) index++;
    const host = this.#network.addHost(`node${index}`, `10.0.0.${10 + index}`);
    const node = { ...host, index, externalAddress };
    this.#network.addRoute(podRange(node), host);
    if (externalAddress) {
      this.#network.addAddress(host.name, externalAddress);
      this.#network.addRoute(`${externalAddress}/32`, host);
    }
    await run(this.#network.argvOn(node.name, ['iptables-restore', '--noflush']), {
      stdin: KUBELET_RULES,
    });
    await this.#createObject(node, labels);
    // Only now: kube-proxy reads its own Node object when it starts.
    const proxy = this.#processes.start({
      name: `kube-proxy-${node.name}`,
      argv: this.#network.argvOn(node.name, [
        ...this.#proxyArgv,
        `--hostname-override=${node.name}`,
      ]),
    });
    this.#nodes.set(node.name, { ...node, proxy });
    await this.#untilForwarding(node, proxy);
    return node;
  }

  /** Takes a node away as if its machine were gone for ever: kube-proxy, Node object and host. */
  async remove(name: string): Promise<void> {
    const node = this.#nodes.get(name);
    if (!node) throw new Error(`the cluster has no node ${name}`);
    this.#nodes.delete(name);
    node.proxy.signal('SIGKILL');
    await node.proxy.exited;
    await this.#api.delete(`/api/v1/nodes/${name}`);
    this.#network.removeHost(name);
  }

  /**
   * Waits until every node's rules for a node port forward it; with `orRefuse` also when they refuse
   * connections because there are no endpoints.
   */
  async untilNodePort(port: number, orRefuse?: 'orRefuse'): Promise<void> {
    const chain = orRefuse ? '(NODEPORTS|EXTERNAL-SERVICES)' : 'NODEPORTS';
    const rule = new RegExp(`KUBE-${chain} .*--dport ${port} `);
    for (const { name } of this.list()) {
      const save = this.#network.argvOn(name, ['iptables-save']);
      await waitFor(`node port ${port} on ${name}`, async () => rule.test(await run(save)));
    }
  }

  /**
   * Sets the condition `Ready`, and the taint that Kubernetes' node-lifecycle controller would keep in
   * step with it. Nothing happens to the pods that are on the node.
   */
  async setReady(name: string, isReady: boolean): Promise<void> {
    const now = new Date().toISOString();
    const ready = {
      type: 'Ready',
      status: isReady ? 'True' : 'False',
      reason: isReady ? 'KubeletReady' : 'KubeletNotReady',
      message: 'set by test/cluster',
      lastHeartbeatTime: now,
      lastTransitionTime: now,
    };
    const path = `/api/v1/nodes/${name}`;
    await this.#api.patch(`${path}/status`, { status: { conditions: [ready] } }, 'strategic-merge');
    const taints = isReady ? [] : [{ key: NOT_READY, effect: 'NoSchedule' }];
    await this.#api.patch(path, { spec: { taints } });
  }

  // Not by kube-proxy's /healthz, which is well before the first rules are there. They are written all at
  // once, and there is always the Service of the API server.
  async #untilForwarding(node: ClusterNode, proxy: RunningProcess): Promise<void> {
    const list = this.#network.argvOn(node.name, [
      'iptables',
      '-w',
      '-t',
      'nat',
      '-S',
      'KUBE-SERVICES',
    ]);
    await waitFor(
      `the rules of kube-proxy on ${node.name} (its log: ${proxy.logFile})`,
      async () => {
        if (!proxy.isRunning()) throw new GiveUp(`kube-proxy ended:\n${proxy.logTail()}`);
        return (await run(list)).includes('default/kubernetes:https');
      },
    );
  }

  async #createObject(node: ClusterNode, labels: Record<string, string>): Promise<void> {
    await this.#api.post('/api/v1/nodes', {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: {
        name: node.name,
        labels: { 'kubernetes.io/hostname': node.name, 'kubernetes.io/os': 'linux', ...labels },
      },
      spec: { podCIDR: podRange(node), podCIDRs: [podRange(node)] },
    });
    const addresses = [
      { type: 'InternalIP', address: node.address },
      { type: 'Hostname', address: node.name },
    ];
    if (node.externalAddress) addresses.push({ type: 'ExternalIP', address: node.externalAddress });
    await this.#api.patch(`/api/v1/nodes/${node.name}/status`, { status: { addresses } });
    await this.setReady(node.name, true);
  }
}

export interface ProxySpec {
  /** The folder of kube-proxy. */
  binaries: string;
  kubeconfig: string;
}

/** The addresses of the pods on a node. */
export function podRange({ index }: { index: number }): string {
  return `10.244.${index}.0/24`;
}
