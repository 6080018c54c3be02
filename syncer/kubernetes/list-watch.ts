import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { ApiClient } from './api-client.ts';
import { discoverApiVersion } from './api-discovery.ts';
import { ApiError } from './api-error.ts';
import { BackOff } from './back-off.ts';
import type { Decoded } from './decode.ts';
import { type AnnotationFilter, decodeEntry, keyOf } from './entry.ts';
import { readList } from './list.ts';
import type { ObjectStore } from './object-store.ts';
import { Outage, type Verb } from './outage.ts';
import { type Collection, RESOURCES, resourceName } from './resource.ts';
import { openWatch, WatchBroken, type WatchEvent, type WatchLimits } from './watch.ts';

export interface ListWatchContext {
  readonly client: ApiClient;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: () => number;
  readonly annotationFilter: AnnotationFilter;
  readonly limits: WatchLimits;
  readonly backOffMs: { readonly first: number; readonly last: number };
  /** A watch that lasted this long was a good one. */
  readonly steadyMs: number;
}

/** Counted over the life of a source, also for collections that are not watched any more. */
export interface WatchCounters {
  /** Watches that ended other than by their own time limit. */
  restarts: number;
  lists: number;
  lastError: string | null;
}

interface Position {
  readonly apiVersion: string;
  resourceVersion: string;
}

/**
 * Keeps one store equal to one collection of the API server, for ever: list, watch, and again.
 *
 * Not client-node's informer, which stops for good on any error but 410 and begins before its first
 * list is there.
 */
export class ListWatch {
  readonly collection: Collection;
  readonly store: ObjectStore;
  readonly #context: ListWatchContext;
  readonly #counters: WatchCounters;
  readonly #onChange: () => void;
  readonly #backOff: BackOff;
  readonly #outage: Outage;
  readonly #abort = new AbortController();
  #position: Position | null = null;
  #answered = false;
  #watchingSince: number | null = null;
  #hadEvent = false;
  #running: Promise<void> = Promise.resolve();

  /** @param onChange is called when the store differs or was first filled; it must not throw. */
  constructor(
    collection: Collection,
    store: ObjectStore,
    context: ListWatchContext,
    counters: WatchCounters,
    onChange: () => void,
  ) {
    this.collection = collection;
    this.store = store;
    this.#context = context;
    this.#counters = counters;
    this.#onChange = onChange;
    this.#backOff = new BackOff(context.backOffMs.first, context.backOffMs.last, context.random);
    this.#outage = new Outage(collection, context.logger);
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  /**
   * Whether the server has said once what the collection holds. A single object may also be refused:
   * it counts as absent, so that it cannot hold up the rest.
   */
  get answered(): boolean {
    return this.#answered;
  }

  /** Why it is not watching now; `null` when it is. */
  get failure(): string | null {
    return this.#outage.error;
  }

  async #run(): Promise<void> {
    while (!this.#abort.signal.aborted) {
      let failure: unknown = null;
      this.#watchingSince = null;
      this.#hadEvent = false;
      try {
        this.#position ??= await this.#list();
        await this.#watch(this.#position);
      } catch (error) {
        failure = error;
      }
      if (this.#abort.signal.aborted) return;
      await this.#recover(failure, this.#position ? 'watch' : 'list');
    }
  }

  async #list(): Promise<Position> {
    const { client, annotationFilter } = this.#context;
    const { kind } = this.collection;
    const { signal } = this.#abort;
    // Asked before each list: an upgraded server may have lost the version it had.
    const apiVersion = await discoverApiVersion(client, kind, signal);
    if (apiVersion === null) {
      throw new ApiError('discovery', 404, '', `the server has no ${resourceName(kind)}`);
    }
    let entries = new Map<string, Decoded>();
    const into = {
      begin: () => {
        entries = new Map();
      },
      add: (item: unknown) => {
        entries.set(keyOf(item), decodeEntry(item, kind, apiVersion, annotationFilter));
      },
    };
    const resourceVersion = await readList(client, this.collection, apiVersion, into, signal);
    this.#counters.lists += 1;
    const changed = this.store.replace(entries);
    const first = !this.#answered;
    this.#answered = true;
    if (changed || first) this.#onChange();
    return { apiVersion, resourceVersion };
  }

  async #watch(position: Position): Promise<void> {
    const { client, clock, random, limits } = this.#context;
    const { apiVersion, resourceVersion } = position;
    // Spread, so that not all watches of all clients end at once.
    const timeoutSeconds = Math.ceil(limits.timeoutSeconds * (1 - random() / 10));
    const events = await openWatch(
      client,
      this.collection,
      apiVersion,
      resourceVersion,
      { ...limits, timeoutSeconds },
      this.#abort.signal,
    );
    this.#watchingSince = clock.now();
    this.#outage.end();
    for await (const event of events) {
      this.#apply(event, apiVersion);
      position.resourceVersion = event.resourceVersion;
      this.#hadEvent = true;
    }
  }

  #apply({ type, object }: WatchEvent, apiVersion: string): void {
    if (type === 'BOOKMARK') return;
    const { kind } = this.collection;
    const entry =
      type === 'DELETED'
        ? undefined
        : decodeEntry(object, kind, apiVersion, this.#context.annotationFilter);
    if (this.store.set(keyOf(object), entry)) this.#onChange();
  }

  /** Decides from where to go on, and waits before it. */
  async #recover(failure: unknown, verb: Verb): Promise<void> {
    const { clock, steadyMs } = this.#context;
    const lastedMs = this.#watchingSince === null ? 0 : clock.now() - this.#watchingSince;
    const steady = this.#watchingSince !== null && lastedMs >= steadyMs;
    if (steady || this.#hadEvent) this.#backOff.reset();
    // The time limit we asked for: the next watch goes on at once where this one ended.
    if (failure === null && steady) return;
    this.#counters.restarts += 1;
    if (failure !== null) this.#fail(failure, verb);
    if (this.#mustList(failure)) this.#position = null;
    const retryAfterMs = failure instanceof ApiError ? failure.retryAfterMs : 0;
    await clock.sleep(Math.max(this.#backOff.next(), retryAfterMs), this.#abort.signal);
  }

  /**
   * A broken connection alone goes on from the last resourceVersion. Not one that breaks again: a
   * server that was away may come back with older data (etcd restored from a backup), and a watch
   * from a version of its future is silent, not refused.
   */
  #mustList(failure: unknown): boolean {
    if (failure instanceof WatchBroken) return true;
    if (failure instanceof ApiError) {
      const isEvent = this.#watchingSince !== null;
      if (isEvent || [400, 404, 410].includes(failure.status)) return true;
      if (failure.status === 429) return false;
    }
    return failure !== null && this.#backOff.failures > 0;
  }

  #fail(failure: unknown, verb: Verb): void {
    const { kind, name } = this.collection;
    this.#outage.fail(failure, verb);
    this.#counters.lastError = this.#outage.error;
    const status = failure instanceof ApiError ? failure.status : 0;
    const isAbsent =
      (name !== null && (status === 403 || status === 404)) ||
      (RESOURCES[kind].optional && status === 404);
    if (!isAbsent || this.#answered) return;
    this.#answered = true;
    this.#onChange();
  }
}
