import type { KubeConfig } from '@kubernetes/client-node';
import { type Clock, SYSTEM_CLOCK } from '../clock.ts';
import { type ClusterState, clusterState } from '../cluster-state.ts';
import type { Logger } from '../log.ts';
import type { StateSource } from '../source.ts';
import { ApiClient } from './api-client.ts';
import { type AnnotationFilter, isRoutingAnnotation } from './entry.ts';
import { ListWatch, type WatchCounters } from './list-watch.ts';
import { ObjectStore } from './object-store.ts';
import type { KubernetesKind } from './objects.ts';
import { ReferenceWatches } from './reference-watches.ts';
import { referencesOf } from './references.ts';
import { type Collection, RESOURCES } from './resource.ts';
import type { WatchLimits } from './watch.ts';

export interface ClusterSourceOptions {
  readonly kubeConfig: KubeConfig;
  readonly logger: Logger;
  /**
   * A kind that is left out counts as one without objects (Node, where node ports are not used);
   * without this, all but Namespace.
   */
  readonly kinds?: readonly KubernetesKind[];
  /** Only its IngressClasses have their ConfigMap watched; `null`: all. */
  readonly controllerName?: string | null;
  /** `null`: all. */
  readonly namespaces?: readonly string[] | null;
  /** Annotations of Ingresses that fail it are dropped, and a change of them wakes nobody. */
  readonly annotationFilter?: AnnotationFilter;
  readonly timing?: WatchTiming;
}

interface WatchPace {
  readonly limits: WatchLimits;
  readonly backOffMs: { readonly first: number; readonly last: number };
}

export interface WatchTiming {
  readonly clock: Clock;
  /** From 0 to less than 1. */
  readonly random: () => number;
  readonly kinds: WatchPace;
  readonly secrets: WatchPace;
  readonly steadyMs: number;
  readonly secretPatienceMs: number;
}

/**
 * A connection that has died without a word fails by TCP keep-alive after 25 s. Keep-alive does not
 * see a server that hangs or a proxy that answers for it, and bookmarks come at no promised
 * rhythm; so a watch of a kind ends by itself within 45 s, the next goes on from where it ended, and
 * one that is silent for 55 s is dead. That is one small request a kind in 45 s. Of Secrets there may
 * be hundreds and their changes can wait: theirs last longer, and a server that is away is asked less
 * often.
 */
export const WATCH_TIMING: WatchTiming = {
  clock: SYSTEM_CLOCK,
  random: Math.random,
  kinds: {
    limits: { timeoutSeconds: 45, silenceMs: 55_000 },
    backOffMs: { first: 250, last: 5_000 },
  },
  secrets: {
    limits: { timeoutSeconds: 270, silenceMs: 280_000 },
    backOffMs: { first: 250, last: 30_000 },
  },
  steadyMs: 5_000,
  secretPatienceMs: 5_000,
};

/** All watches of one kind together. */
export interface KindStats extends Readonly<WatchCounters> {
  readonly kind: KubernetesKind;
  readonly objects: number;
  readonly watches: number;
  /** How many of them do not watch now, because of an error. */
  readonly failing: number;
  readonly synced: boolean;
}

/** Namespaces are of use only to a selector of them. */
const DEFAULT_KINDS = (Object.keys(RESOURCES) as KubernetesKind[]).filter(
  (kind) => kind !== 'Namespace',
);

/** Watched one by one, as others name them. */
function isReferenced(kind: KubernetesKind): boolean {
  return kind === 'Secret' || kind === 'ConfigMap';
}

/** The objects of a cluster, by list and watch. */
export class ClusterSource implements StateSource {
  readonly #options: Required<ClusterSourceOptions>;
  readonly #client: ApiClient;
  readonly #counters = new Map<KubernetesKind, WatchCounters>();
  readonly #kindWatches: readonly ListWatch[];
  readonly #references: ReferenceWatches;
  #onChange: () => void = () => {};

  constructor(options: ClusterSourceOptions) {
    this.#options = {
      kinds: DEFAULT_KINDS,
      controllerName: null,
      namespaces: null,
      annotationFilter: isRoutingAnnotation,
      timing: WATCH_TIMING,
      ...options,
    };
    const { kinds, timing } = this.#options;
    this.#client = new ApiClient(options.kubeConfig);
    for (const kind of kinds) this.#counters.set(kind, { restarts: 0, lists: 0, lastError: null });
    this.#references = new ReferenceWatches({
      clock: timing.clock,
      patienceMs: timing.secretPatienceMs,
      referencesOf: (object) =>
        referencesOf(object, this.#options.controllerName).filter((it) => kinds.includes(it.kind)),
      makeWatch: (reference) => this.#makeWatch(reference),
      onChange: () => this.#onChange(),
    });
    this.#kindWatches = kinds
      .filter((kind) => !isReferenced(kind))
      .flatMap((kind) => this.#collections(kind))
      .map((collection) => this.#makeWatch(collection));
  }

  /** Returns at once, whether or not the server can be reached. */
  async start(onChange: () => void): Promise<void> {
    this.#onChange = onChange;
    for (const watch of this.#kindWatches) watch.start();
  }

  /**
   * Whether every kind, and every Secret and ConfigMap that is named, was listed once. It turns false
   * again for a moment, a few seconds at most, while a newly named one is asked for.
   */
  get synced(): boolean {
    return this.#kindsSynced() && this.#references.ready;
  }

  state(): ClusterState {
    const stores = this.#watches().map((watch) => watch.store);
    return clusterState(
      stores.flatMap((store) => [...store.objects()]),
      stores.flatMap((store) => [...store.problems()]),
    );
  }

  stats(): readonly KindStats[] {
    return [...this.#counters].map(([kind, counters]) => {
      const watches = this.#watches().filter((watch) => watch.collection.kind === kind);
      return {
        kind,
        objects: watches.reduce((sum, watch) => sum + watch.store.size, 0),
        watches: watches.length,
        failing: watches.filter((watch) => watch.failure !== null).length,
        synced: watches.every((watch) => watch.answered),
        ...counters,
      };
    });
  }

  async stop(): Promise<void> {
    this.#onChange = () => {};
    await Promise.all(this.#kindWatches.map((watch) => watch.stop()));
    await this.#references.stop();
    this.#client.close();
  }

  #watches(): ListWatch[] {
    return [...this.#kindWatches, ...this.#references.watches];
  }

  #kindsSynced(): boolean {
    return this.#kindWatches.every((watch) => watch.answered);
  }

  #collections(kind: KubernetesKind): Collection[] {
    const { namespaces } = this.#options;
    if (namespaces === null || !RESOURCES[kind].namespaced) {
      return [{ kind, namespace: null, name: null }];
    }
    return [...new Set(namespaces)].map((namespace) => ({ kind, namespace, name: null }));
  }

  #makeWatch(collection: Collection): ListWatch {
    const { logger, annotationFilter, timing } = this.#options;
    const { kind } = collection;
    const refers = kind === 'Ingress' || kind === 'IngressClass';
    const store = new ObjectStore(
      refers ? (before, after) => this.#references.refer(before, after) : undefined,
    );
    const context = {
      ...timing,
      ...(isReferenced(kind) ? timing.secrets : timing.kinds),
      client: this.#client,
      logger,
      annotationFilter,
    };
    const counters = this.#counters.get(kind) ?? { restarts: 0, lists: 0, lastError: null };
    return new ListWatch(collection, store, context, counters, () => this.#note());
  }

  /** Something changed, or was answered for the first time. */
  #note(): void {
    this.#references.settle();
    if (this.synced) this.#references.limitPatience();
    this.#onChange();
  }
}
