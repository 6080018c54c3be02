import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startEchoProcess } from './echo-process.ts';
import { startListeningProcess } from './listening-process.ts';
import type { Network } from './network.ts';
import type { ClusterNode } from './nodes.ts';
import type { Pod } from './objects.ts';
import type { Processes, RunningProcess } from './processes.ts';

/** What stands for a pod on its node: an address and a process that listens there. */
export interface PodSandbox {
  readonly node: ClusterNode;
  readonly address: string;
  readonly process: RunningProcess;
  /** As a kubelet does: the preStop hook's sleep, SIGTERM, and SIGKILL after what is left of the grace. */
  stop(graceSeconds: number): Promise<void>;
  /** SIGKILL at once. */
  kill(): Promise<void>;
}

/** An annotation of a pod: its process goes on listening, see echo-server.ts. */
export const LINGERS_MS = 'test.causeway.dev/lingers-ms';

/** A container of this name runs acme-solver.ts with its arguments; all others are echo servers. */
export const SOLVER_CONTAINER = 'acmesolver';

/** Makes sandboxes, and gives each pod an address of its node's range for itself. */
export class PodSandboxes {
  readonly #network: Network;
  readonly #processes: Processes;
  readonly #addresses = new Set<string>();
  /** The last number given per node: a freed address is not given again at once. */
  readonly #last = new Map<string, number>();

  constructor(network: Network, processes: Processes) {
    this.#network = network;
    this.#processes = processes;
  }

  /** Starts the pod's process and waits until it accepts connections on all its TCP ports. */
  async start(pod: Pod, node: ClusterNode): Promise<PodSandbox> {
    const isOnHost = pod.spec.hostNetwork === true;
    const address = isOnHost ? node.address : this.#takeAddress(node);
    const release = () => {
      if (!isOnHost) this.#releaseAddress(node, address);
    };
    try {
      const process = await this.#run(pod, node, address);
      void process.exited.then(release);
      return sandbox(pod, node, address, process);
    } catch (error) {
      release();
      throw error;
    }
  }

  #run(pod: Pod, node: ClusterNode, address: string): Promise<RunningProcess> {
    const { name, namespace = '', labels, annotations, uid } = pod.metadata;
    const processName = `pod-${namespace}-${name}-${uid?.slice(0, 8)}`;
    const listener = { host: node.name, address, ports: tcpPorts(pod), processName };
    const solver = pod.spec.containers.find((it) => it.name === SOLVER_CONTAINER);
    if (solver) {
      const program = fileURLToPath(new URL('acme-solver.ts', import.meta.url));
      const argv = [process.execPath, program, ...(solver.args ?? [])];
      const env = { SOLVER_ADDRESS: address };
      return startListeningProcess(this.#network, this.#processes, { ...listener, argv, env });
    }
    const service = labels?.['app.kubernetes.io/name'] ?? labels?.app;
    return startEchoProcess(this.#network, this.#processes, {
      ...listener,
      lingersMs: Number(annotations?.[LINGERS_MS] ?? 0),
      identity: { namespace, ...(service ? { service } : {}), pod: name, node: node.name },
    });
  }

  #takeAddress(node: ClusterNode): string {
    for (let tried = 0; tried < 253; tried++) {
      // 2 to 254
      const last = ((this.#last.get(node.name) ?? 1) % 253) + 1;
      this.#last.set(node.name, last);
      const address = `10.244.${node.index}.${last + 1}`;
      if (this.#addresses.has(address)) continue;
      this.#addresses.add(address);
      this.#network.addAddress(node.name, address);
      return address;
    }
    throw new Error(`${node.name} has no free pod address`);
  }

  #releaseAddress(node: ClusterNode, address: string): void {
    this.#addresses.delete(address);
    // A node that was removed took its addresses with it.
    if (this.#network.hasHost(node.name)) this.#network.removeAddress(node.name, address);
  }
}

/** The TCP ports that a pod's containers name. */
export function tcpPorts(pod: Pod): number[] {
  const ports = pod.spec.containers.flatMap((container) => container.ports ?? []);
  return ports
    .filter(({ protocol = 'TCP' }) => protocol === 'TCP')
    .map(({ containerPort }) => containerPort);
}

function sandbox(
  pod: Pod,
  node: ClusterNode,
  address: string,
  process: RunningProcess,
): PodSandbox {
  return {
    node,
    address,
    process,
    async stop(graceSeconds) {
      const graceMs = graceSeconds * 1000;
      const preStopMs = Math.min(preStopSeconds(pod) * 1000, graceMs);
      if (preStopMs > 0) await Promise.race([delay(preStopMs), process.exited]);
      await process.stop(graceMs - preStopMs);
    },
    async kill() {
      process.signal('SIGKILL');
      await process.exited;
    },
  };
}

// The longest of the containers' hooks; only sleeping is understood.
function preStopSeconds(pod: Pod): number {
  const seconds = pod.spec.containers.map(({ lifecycle }) => {
    const command = lifecycle?.preStop?.exec?.command?.join(' ') ?? '';
    const slept = /\bsleep (\d+(?:\.\d+)?)/.exec(command)?.[1];
    return lifecycle?.preStop?.sleep?.seconds ?? Number(slept ?? 0);
  });
  return Math.max(0, ...seconds);
}
