import type { Clock } from './clock.ts';
import type { CompileOptions } from './compile/options.ts';
import type { Follower, Served } from './followers.ts';
import type { ApiClient } from './kubernetes/api-client.ts';
import { discoverApiVersion } from './kubernetes/api-discovery.ts';
import { ApiError } from './kubernetes/api-error.ts';
import { decodeEntry, isRoutingAnnotation, sameEntry } from './kubernetes/entry.ts';
import type { Ingress } from './kubernetes/objects.ts';
import { readOne } from './kubernetes/read-one.ts';
import { collectionPath } from './kubernetes/resource.ts';
import { withRetries } from './kubernetes/retry.ts';
import type { Logger } from './log.ts';
import { Permission } from './permission.ts';
import { isNeeded, planStatus, type StatusChange, statusManager } from './status.ts';
import type { Term } from './term.ts';

/** What came of one change. */
export type StatusOutcome =
  | 'set'
  | 'cleared'
  /** It was done already. */
  | 'same'
  /** The Ingress was deleted, or it changed and the next publication decides. */
  | 'overtaken'
  | 'refused'
  /** Somebody else writes to it all the time; the next publication tries again. */
  | 'contended';

export interface StatusFollowerOptions {
  readonly client: Pick<ApiClient, 'get' | 'write'>;
  readonly log: Logger;
  readonly clock: Clock;
  /** From 0 to less than 1. */
  readonly random: () => number;
  readonly onOutcome?: (outcome: StatusOutcome) => void;
}

const SILENCE_MS = 10_000;
const CONFLICTS_MAX = 4;

/** Keeps `status.loadBalancer` of Ingresses as {@link planStatus} says. */
export function statusFollower(options: StatusFollowerOptions): Follower {
  const permission = new Permission('patch on ingresses.networking.k8s.io/status', options.log);
  return async ({ compilation, term }) => {
    const changes = planStatus(compilation);
    if (changes.length === 0) return;
    const apiVersion = await discoverApiVersion(options.client, 'Ingress', term.signal);
    if (apiVersion === null) return;
    const writer = new StatusWriter(options, permission, compilation.options[0], apiVersion, term);
    for (const change of changes) options.onOutcome?.(await writer.write(change));
  };
}

/** For one publication. */
class StatusWriter {
  readonly #options: StatusFollowerOptions;
  readonly #permission: Permission;
  readonly #controller: CompileOptions;
  readonly #apiVersion: string;
  readonly #term: Term;
  /** RBAC may allow some namespaces only; where it does not, one question is enough. */
  readonly #refusedIn = new Set<string>();

  constructor(
    options: StatusFollowerOptions,
    permission: Permission,
    controller: CompileOptions,
    apiVersion: string,
    term: Served['term'],
  ) {
    this.#options = options;
    this.#permission = permission;
    this.#controller = controller;
    this.#apiVersion = apiVersion;
    this.#term = term;
  }

  /** @throws TermOver when we do not lead any more, and what the server has no excuse for */
  async write(change: StatusChange): Promise<StatusOutcome> {
    const { namespace } = change.ingress;
    if (this.#refusedIn.has(namespace)) return 'refused';
    try {
      const outcome = await this.#writeNewest(change);
      this.#permission.granted(namespace);
      return outcome;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 404) return 'overtaken';
      if (error.status !== 403) throw error;
      this.#refusedIn.add(namespace);
      this.#permission.refused(namespace, error);
      return 'refused';
    }
  }

  /** Begins with what the watch saw last, and asks when that is out of date. */
  async #writeNewest(change: StatusChange): Promise<StatusOutcome> {
    let { resourceVersion } = change.ingress.record;
    for (let conflicts = 0; conflicts < CONFLICTS_MAX; conflicts++) {
      try {
        await this.#patch(change, resourceVersion);
        return change.kind === 'set' ? 'set' : 'cleared';
      } catch (error) {
        if (!(error instanceof ApiError && error.status === 409)) throw error;
      }
      const fresh = await this.#read(change.ingress);
      if (fresh === null) return 'overtaken';
      if (!isNeeded(change, fresh.record, this.#controller)) return 'same';
      resourceVersion = fresh.record.resourceVersion;
    }
    return 'contended';
  }

  #patch({ ingress, addresses }: StatusChange, resourceVersion: string): Promise<unknown> {
    const entries = addresses.map(({ ip, hostname }) => ({
      ...(ip && { ip }),
      ...(hostname && { hostname }),
    }));
    return this.#try(() =>
      this.#options.client.write({
        method: 'PATCH',
        path: `${this.#pathOf(ingress)}/status`,
        query: { fieldManager: statusManager(this.#controller) },
        contentType: 'application/merge-patch+json',
        body: {
          // The uid too: an Ingress that was deleted and made anew is another one.
          metadata: { resourceVersion, uid: ingress.uid },
          status: { loadBalancer: { ingress: entries.length > 0 ? entries : null } },
        },
        signal: this.#term.signal,
        silenceMs: SILENCE_MS,
      }),
    );
  }

  /** `null` when it is gone or means something else to routing, and nobody has decided whose it is. */
  async #read(ingress: Ingress): Promise<Ingress | null> {
    const { client } = this.#options;
    const raw = await this.#try(() =>
      readOne(client, ingress, this.#apiVersion, this.#term.signal),
    );
    if (raw === null) return null;
    const fresh = decodeEntry(raw, 'Ingress', this.#apiVersion, isRoutingAnnotation);
    if (!fresh.ok || !sameEntry(fresh, { ok: true, objects: [ingress] })) return null;
    const [object] = fresh.objects;
    return object?.kind === 'Ingress' ? object : null;
  }

  #try<T>(call: () => Promise<T>): Promise<T> {
    return withRetries(this.#options, this.#term.signal, () => {
      this.#term.check();
      return call();
    });
  }

  #pathOf({ namespace, name }: Ingress): string {
    const collection = { kind: 'Ingress' as const, namespace, name: null };
    return `${collectionPath(collection, this.#apiVersion)}/${encodeURIComponent(name)}`;
  }
}
