import { appendFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { ApiError, type KubernetesApi } from './api.ts';
import type { ClusterNode, Nodes } from './nodes.ts';
import type { List, Node, Pod } from './objects.ts';
import { placePod } from './placement.ts';
import type { PodSandbox, PodSandboxes } from './pod-sandbox.ts';
import { failedStatus, runningStatus } from './pod-status.ts';

const PODS = '/api/v1/pods';

/** Pause before a step that failed, or a pod that found no node, is tried again. */
const RETRY_MS = 200;

/** A pod as the runner knows it. Its steps run one after the other, in `queue`. */
interface Entry {
  pod: Pod;
  sandbox?: PodSandbox;
  /** Whether the API server knows that the sandbox runs. Later changes of its status are not undone. */
  isReported: boolean;
  queue: Promise<void>;
}

/**
 * Scheduler and kubelet in one: places pending pods, runs an echo server for each, keeps the pod's status
 * true, and carries out deletions with their grace.
 *
 * Like a kubelet it looks only at the present state of a pod, never at what kind of event told it, so that
 * it picks up where it was when the API server was away. Sandboxes run on in the meantime.
 */
export class PodRunner {
  readonly #api: KubernetesApi;
  readonly #nodes: Nodes;
  readonly #sandboxes: PodSandboxes;
  readonly #logFile: string;
  readonly #entries = new Map<string, Entry>();
  readonly #stopped = new AbortController();
  #watching = Promise.resolve();
  #binding = Promise.resolve();

  constructor(api: KubernetesApi, nodes: Nodes, sandboxes: PodSandboxes, logFile: string) {
    this.#api = api;
    this.#nodes = nodes;
    this.#sandboxes = sandboxes;
    this.#logFile = logFile;
  }

  /** Begins to watch. Trouble with one pod goes to the log file and is tried again. */
  start(): void {
    this.#watching = this.#watchForEver();
  }

  /** Ends the watch and waits for the steps under way. The sandboxes' processes run on. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#watching;
    await Promise.all([...this.#entries.values()].map(({ queue }) => queue));
  }

  /** Forgets the pods of a node that is gone, and deletes them as Kubernetes' pod collector would. */
  async abandonNode(name: string): Promise<void> {
    const lost = [...this.#entries.values()].filter(({ pod }) => pod.spec.nodeName === name);
    await Promise.all(lost.map((entry) => entry.sandbox?.kill()));
    for (const { pod } of lost) await this.#finalise(pod).catch(ignoreGone);
  }

  async #watchForEver(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      try {
        const list = await this.#api.get<List<Pod>>(PODS);
        this.#replaceAll(list.items);
        const from = list.metadata.resourceVersion;
        for await (const { type, object } of this.#api.watch<Pod>(PODS, from, signal)) {
          if (type === 'DELETED') this.#forget(uidOf(object));
          else if (type !== 'BOOKMARK') this.#see(object);
        }
      } catch (error) {
        if (signal.aborted) return;
        this.#log('the watch', error);
        await this.#pause();
      }
    }
  }

  #replaceAll(pods: readonly Pod[]): void {
    const present = new Set(pods.map(uidOf));
    for (const uid of [...this.#entries.keys()]) if (!present.has(uid)) this.#forget(uid);
    for (const pod of pods) this.#see(pod);
  }

  #see(pod: Pod): void {
    const entry = this.#entries.get(uidOf(pod));
    if (entry) entry.pod = pod;
    else this.#entries.set(uidOf(pod), { pod, isReported: false, queue: Promise.resolve() });
    this.#enqueue(uidOf(pod));
  }

  // The object is gone, by force perhaps: whatever grace its process still has is over.
  #forget(uid: string): void {
    const entry = this.#entries.get(uid);
    this.#entries.delete(uid);
    if (!entry) return;
    void entry.sandbox?.kill();
    // A step under way may start a process yet.
    entry.queue = entry.queue.then(() => entry.sandbox?.kill());
  }

  #enqueue(uid: string): void {
    const entry = this.#entries.get(uid);
    if (!entry) return;
    entry.queue = entry.queue.then(async () => {
      if (this.#stopped.signal.aborted || !this.#entries.has(uid)) return;
      try {
        await this.#step(entry);
      } catch (error) {
        // Somebody else was faster, or the pod is gone: the watch will tell.
        if (error instanceof ApiError && (error.status === 404 || error.status === 409)) return;
        this.#log(`pod ${entry.pod.metadata.namespace}/${entry.pod.metadata.name}`, error);
        this.#retry(uid);
      }
    });
  }

  /** Brings one pod one step nearer to what its object says. */
  async #step(entry: Entry): Promise<void> {
    const { pod, sandbox } = entry;
    const isOver = pod.status.phase === 'Failed' || pod.status.phase === 'Succeeded';
    if (pod.metadata.deletionTimestamp) {
      await sandbox?.stop(pod.metadata.deletionGracePeriodSeconds ?? 0);
      await this.#finalise(pod);
    } else if (!pod.spec.nodeName) {
      await this.#bind(pod);
    } else if (!isOver && this.#nodes.has(pod.spec.nodeName)) {
      await this.#run(entry, this.#nodes.get(pod.spec.nodeName));
    }
  }

  // One at a time: each must see where the one before went.
  #bind(pod: Pod): Promise<void> {
    const bound = this.#binding.then(() => this.#place(pod));
    this.#binding = bound.catch(() => {});
    return bound;
  }

  async #place(pod: Pod): Promise<void> {
    const { items: nodes } = await this.#api.get<List<Node>>('/api/v1/nodes');
    const alive = nodes.filter(({ metadata }) => this.#nodes.has(metadata.name));
    // From the server, not from the watch, which may not know yet what was bound a moment ago.
    const { items: pods } = await this.#api.get<List<Pod>>(PODS);
    const node = placePod(pod, alive, pods);
    if (!node) return this.#retry(uidOf(pod));
    await this.#api.post(`${pathOf(pod)}/binding`, {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: pod.metadata.name, uid: pod.metadata.uid },
      target: { apiVersion: 'v1', kind: 'Node', name: node },
    });
  }

  async #run(entry: Entry, node: ClusterNode): Promise<void> {
    if (!entry.sandbox) {
      entry.sandbox = await this.#sandboxes.start(entry.pod, node);
      void entry.sandbox.process.exited.then(() => this.#enqueue(uidOf(entry.pod)));
    }
    if (!entry.sandbox.process.isRunning()) {
      // It ended by itself: the pod has failed, and its ReplicaSet makes another.
      await this.#patchStatus(entry.pod, failedStatus());
    } else if (!entry.isReported) {
      await this.#patchStatus(entry.pod, runningStatus(entry.pod, entry.sandbox));
      entry.isReported = true;
    }
  }

  #patchStatus(pod: Pod, status: unknown): Promise<unknown> {
    const change = { metadata: { uid: pod.metadata.uid }, status };
    return this.#api.patch(`${pathOf(pod)}/status`, change, 'strategic-merge');
  }

  async #finalise(pod: Pod): Promise<void> {
    const options = { gracePeriodSeconds: 0, preconditions: { uid: pod.metadata.uid } };
    await this.#api.delete(pathOf(pod), options);
  }

  #retry(uid: string): void {
    void this.#pause().then(() => this.#enqueue(uid));
  }

  // Ends early when the runner stops.
  async #pause(): Promise<void> {
    await delay(RETRY_MS, undefined, { signal: this.#stopped.signal }).catch(() => {});
  }

  #log(what: string, error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    appendFileSync(this.#logFile, `${new Date().toISOString()} ${what}: ${text}\n`);
  }
}

function ignoreGone(error: unknown): void {
  if (!(error instanceof ApiError && error.status === 404)) throw error;
}

function uidOf({ metadata }: Pod): string {
  return metadata.uid ?? '';
}

function pathOf({ metadata }: Pod): string {
  return `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}`;
}
