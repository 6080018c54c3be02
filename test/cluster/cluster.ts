import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { KubernetesApi } from './api.ts';
import { ControlPlane, SERVICE_RANGE } from './control-plane.ts';
import { startEchoProcess } from './echo-process.ts';
import { currentEdge } from './edge.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import { Network } from './network.ts';
import { type ClusterNode, type NodeOptions, Nodes } from './nodes.ts';
import type { Deployment, Service } from './objects.ts';
import { PodRunner } from './pod-runner.ts';
import { PodSandboxes } from './pod-sandbox.ts';
import { readyConditions } from './pod-status.ts';
import { Processes, type RunningProcess, run } from './processes.ts';
import { GiveUp, waitFor } from './wait.ts';

export interface ClusterOptions {
  /** How many nodes, node1 at 10.0.0.11 and so on. Default 2. */
  nodes?: number;
  /** How many hosts outside the Kubernetes cluster, ext1 at 10.0.0.21 and so on. Default 2. */
  externalHosts?: number;
}

/**
 * A real Kubernetes control plane with nodes, node ports and pods, on one machine and without containers.
 *
 * etcd, kube-apiserver and kube-controller-manager run in the edge namespace, as does this process: start
 * it under `in-edge.ts`. Each node is a namespace with a kube-proxy; each pod is an echo server with an
 * address of its own (10.244.N.x on node N). From the edge all of these can be dialled: node ports, pod
 * addresses and, through node1, ClusterIPs.
 *
 *     await using cluster = await Cluster.start();
 *     await cluster.apply(manifests);
 *     await cluster.rolledOut('default', 'web');
 *     await fetch(`http://10.0.0.11:${await cluster.nodePort('default', 'web')}/`);
 *
 * One process has one cluster at a time, since the addresses are fixed; other processes in other edges do
 * not disturb it. `CAUSEWAY_CLUSTER_LOGS` names a folder for folders of logs, which otherwise go with the
 * cluster.
 */
export class Cluster {
  /** The API server as admin: quicker than kubectl where a test asks often. */
  readonly api: KubernetesApi;
  /** `https://10.0.0.1:6443` */
  readonly server: string;
  /** The path of a kubeconfig with all permissions. */
  readonly adminKubeconfig: string;
  readonly #parts: Parts;
  readonly #onExit: () => void;
  #isStopped = false;

  private constructor(parts: Parts, onExit: () => void) {
    this.#parts = parts;
    this.#onExit = onExit;
    this.api = parts.controlPlane.api;
    this.server = parts.controlPlane.server;
    this.adminKubeconfig = parts.controlPlane.adminKubeconfig;
  }

  /**
   * Brings everything up and waits until it is ready. Throws when this process does not run in an edge or
   * its edge has a cluster already; and, after removing everything, when a program does not come up, with
   * the end of its log.
   */
  static async start({ nodes = 2, externalHosts = 2 }: ClusterOptions = {}): Promise<Cluster> {
    const edge = currentEdge();
    const dir = join(edge.dir, 'cluster');
    if (existsSync(dir)) throw new Error('this edge has a cluster already: stop that one first');
    const logs = process.env.CAUSEWAY_CLUSTER_LOGS || join(dir, 'logs');
    for (const each of [dir, logs]) mkdirSync(each, { recursive: true });
    const logDir = mkdtempSync(join(logs, 'cluster-'));
    const network = new Network();
    const processes = new Processes(logDir);
    const controlPlane = new ControlPlane(dir, edge.binaries, processes);
    const cleanUp = () => {
      processes.killAllNow();
      network.removeAllHosts();
      rmSync(dir, { recursive: true, force: true });
    };
    process.once('exit', cleanUp);
    try {
      for (let n = 1; n <= externalHosts; n++) network.addHost(`ext${n}`, `10.0.0.${20 + n}`);
      await controlPlane.start();
      const proxy = { binaries: edge.binaries, kubeconfig: controlPlane.proxyKubeconfig };
      const members = new Nodes(network, processes, controlPlane.api, proxy);
      const sandboxes = new PodSandboxes(network, processes);
      const podLog = join(logDir, 'pod-runner.log');
      const pods = new PodRunner(controlPlane.api, members, sandboxes, podLog);
      const parts = { dir, logDir, network, processes, controlPlane, nodes: members, pods };
      const cluster = new Cluster({ ...parts, binaries: edge.binaries }, cleanUp);
      for (let n = 1; n <= nodes; n++) await cluster.addNode();
      pods.start();
      return cluster;
    } catch (error) {
      process.off('exit', cleanUp);
      await processes.killAll();
      cleanUp();
      throw error;
    }
  }

  /** Ends all processes and removes nodes, hosts and files. Also runs when this process exits. Idempotent. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    const { pods, processes } = this.#parts;
    const runnerStopped = pods.stop();
    await processes.killAll();
    await runnerStopped;
    this.api.close();
    process.off('exit', this.#onExit);
    this.#onExit();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  // Objects

  /** Runs kubectl as admin and returns its stdout. Throws with its stderr when it fails. */
  kubectl(args: readonly string[], stdin = ''): Promise<string> {
    const { binaries, dir } = this.#parts;
    const flags = [`--kubeconfig=${this.adminKubeconfig}`, `--cache-dir=${join(dir, 'kubectl')}`];
    return run([join(binaries, 'kubectl'), ...flags, ...args], { stdin });
  }

  /** `kubectl apply` of one or more YAML documents. Returns what kubectl says. */
  apply(yaml: string): Promise<string> {
    return this.kubectl(['apply', '-f', '-'], yaml);
  }

  /** Waits until all replicas of a Deployment are of its present template and available. */
  async rolledOut(namespace: string, name: string, timeoutMs = 60_000): Promise<void> {
    const path = `/apis/apps/v1/namespaces/${namespace}/deployments/${name}`;
    const isRolledOut = async () => {
      const { metadata, spec, status } = await this.api.get<Deployment>(path);
      const wanted = spec.replicas ?? 1;
      const { replicas = 0, updatedReplicas = 0, availableReplicas = 0 } = status;
      return (
        status.observedGeneration === metadata.generation &&
        [replicas, updatedReplicas, availableReplicas].every((count) => count === wanted)
      );
    };
    await waitFor(`the rollout of ${namespace}/${name}`, isRolledOut, { timeoutMs });
  }

  /**
   * The node port of a Service's port, given by name or number; of its first port by default. Resolves when
   * all kube-proxies forward it, which takes an endpoint. Throws when there is none within 30 seconds.
   *
   * Before Kubernetes 1.27 kube-proxy also listens on node ports, to reserve them, and never answers there:
   * a connection made just before its rules are in place is accepted and hangs. Hence the wait.
   */
  async nodePort(namespace: string, service: string, port?: string | number): Promise<number> {
    const nodePort = await this.refusedNodePort(namespace, service, port);
    await this.#parts.nodes.untilNodePort(nodePort);
    return nodePort;
  }

  /** The same for a Service without endpoints: resolves as soon as connections are refused or forwarded. */
  async refusedNodePort(ns: string, service: string, port?: string | number): Promise<number> {
    const path = `/api/v1/namespaces/${ns}/services/${service}`;
    const { ports = [] } = (await this.api.get<Service>(path)).spec;
    const isMeant = (each: { port: number; name?: string }) =>
      port === undefined || each.port === port || each.name === port;
    const { nodePort } = ports.find(isMeant) ?? {};
    if (!nodePort) throw new Error(`${ns}/${service} has no such node port`);
    await this.#parts.nodes.untilNodePort(nodePort, 'orRefuse');
    return nodePort;
  }

  /** Makes a running pod (un)ready, as its readiness probe would. It keeps running. */
  async setPodReady(namespace: string, name: string, isReady: boolean): Promise<void> {
    const path = `/api/v1/namespaces/${namespace}/pods/${name}/status`;
    const change = { status: { conditions: readyConditions(isReady) } };
    await this.api.patch(path, change, 'strategic-merge');
  }

  // Identities

  /** Writes a kubeconfig for a bearer token and returns its path. `name` names the file. */
  writeKubeconfig(name: string, token: string, namespace = 'default'): string {
    const file = join(this.#parts.dir, `${name}.kubeconfig`);
    const { certificateAuthority } = this.#parts.controlPlane;
    writeKubeconfig(file, { server: this.server, certificateAuthority, token, namespace });
    return file;
  }

  /** A token of a ServiceAccount, valid for an hour: with it a program has that account's permissions only. */
  async serviceAccountToken(namespace: string, name: string): Promise<string> {
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`;
    const object = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { expirationSeconds: 3600 },
    };
    return (await this.api.post<{ status: { token: string } }>(path, object)).status.token;
  }

  /** The path of a kubeconfig for a ServiceAccount, with its namespace as the default one. */
  async serviceAccountKubeconfig(namespace: string, name: string): Promise<string> {
    const token = await this.serviceAccountToken(namespace, name);
    return this.writeKubeconfig(`${namespace}-${name}`, token, namespace);
  }

  // Machines and processes

  /** The nodes there are, in the order of their creation. */
  get nodes(): ClusterNode[] {
    return this.#parts.nodes.list();
  }

  /** Adds a node with the lowest free number; resolves when it forwards node ports. */
  async addNode(options: NodeOptions = {}): Promise<ClusterNode> {
    const node = await this.#parts.nodes.add(options);
    // ClusterIPs through the first node, as through a tunnel that ends in the cluster.
    if (node.index === 1) this.#parts.network.addRoute(SERVICE_RANGE, node);
    return node;
  }

  /** Takes a node away at once with all its pods, as if its machine were gone. */
  async removeNode(name: string): Promise<void> {
    await this.#parts.nodes.remove(name);
    await this.#parts.pods.abandonNode(name);
  }

  /** Sets a node's condition `Ready` and the matching taint. Its pods and its kube-proxy run on. */
  async setNodeReady(name: string, isReady: boolean): Promise<void> {
    await this.#parts.nodes.setReady(name, isReady);
  }

  /** Ends the API server as a crash would. etcd, controllers, kube-proxies and pods run on. */
  killApiServer(): Promise<void> {
    return this.#parts.controlPlane.killApiServer();
  }

  /** Starts the API server again with the same keys and data; resolves when it is ready. */
  startApiServer(): Promise<void> {
    return this.#parts.controlPlane.startApiServer();
  }

  /**
   * Starts an echo server on a host, by default one outside Kubernetes, and resolves when it answers.
   * Its `pod` and `node` are the host's name.
   */
  async startEcho(
    port: number,
    host = 'ext1',
    service = '',
  ): Promise<RunningProcess & { address: string }> {
    const { network, processes } = this.#parts;
    const { address } = network.host(host);
    const echo = await startEchoProcess(network, processes, {
      host,
      address,
      ports: [port],
      identity: { namespace: '', service, pod: host, node: host },
      processName: `echo-${host}-${port}`,
    });
    return { ...echo, address };
  }

  /** Starts any program on a host (`edge`, `node1`, `ext1`); the cluster's end is its end too. */
  spawn(
    host: string,
    name: string,
    argv: readonly string[],
    env: Record<string, string> = {},
  ): RunningProcess {
    const { network, processes } = this.#parts;
    return processes.start({ name, argv: network.argvOn(host, argv), env });
  }

  /** Runs a program on a host to its end and returns its stdout. Throws with its stderr when it fails. */
  exec(host: string, argv: readonly string[], stdin = ''): Promise<string> {
    return run(this.#parts.network.argvOn(host, argv), { stdin });
  }

  /** What a process has logged so far: `kube-apiserver`, `kube-proxy-node1`, `pod-runner` and so on. */
  log(name: string): string {
    return readFileSync(join(this.#parts.logDir, `${name}.log`), 'utf8');
  }
}

export { ApiError } from './api.ts';
export type { EchoAnswer } from './echo-server.ts';
export { GiveUp, waitFor };

interface Parts {
  readonly dir: string;
  readonly logDir: string;
  readonly binaries: string;
  readonly network: Network;
  readonly processes: Processes;
  readonly controlPlane: ControlPlane;
  readonly nodes: Nodes;
  readonly pods: PodRunner;
}
