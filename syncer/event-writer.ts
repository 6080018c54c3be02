import type { Clock } from './clock.ts';
import { ingressClassDecider } from './compile/ingress-class.ts';
import type { Compilation } from './compile.ts';
import { type Decision, EventMemory } from './event-memory.ts';
import {
  type Digests,
  type Notice,
  problemNotices,
  syncedNotices,
  wasNeverSynced,
} from './events.ts';
import type { Follower, Served } from './followers.ts';
import type { ApiClient } from './kubernetes/api-client.ts';
import { ApiError, describeError } from './kubernetes/api-error.ts';
import { discoverEventsApi, type EventsApi, type NewEvent } from './kubernetes/events-api.ts';
import { findObject } from './kubernetes/find-object.ts';
import { RESOURCES } from './kubernetes/resource.ts';
import { withRetries } from './kubernetes/retry.ts';
import type { Logger } from './log.ts';
import { Permission } from './permission.ts';
import type { Term } from './term.ts';

/** What came of one Event; `dropped`: there was no room for it now. */
export type EventOutcome = 'created' | 'repeated' | 'known' | 'dropped' | 'refused';

export interface EventFollowerOptions {
  readonly client: Pick<ApiClient, 'get' | 'write'>;
  readonly log: Logger;
  readonly clock: Clock;
  /** Milliseconds since the epoch. */
  readonly wallMs: () => number;
  /** From 0 to less than 1. */
  readonly random: () => number;
  /** Name of the pod. */
  readonly instance: string;
  readonly onOutcome?: (outcome: EventOutcome) => void;
}

/** Tells by Events what came of Ingresses. */
export function eventFollower(options: EventFollowerOptions): Follower {
  const writer = new EventWriter(options);
  return (served) => writer.follow(served);
}

const SILENCE_MS = 10_000;

class EventWriter {
  readonly #options: EventFollowerOptions;
  #memory: EventMemory | null = null;
  #digests: Digests | null = null;
  /** In which {@link #digests} were true: another leader may have told more since. */
  #term: Term | null = null;
  #api: EventsApi | null = null;
  #permission: Permission | null = null;

  constructor(options: EventFollowerOptions) {
    this.#options = options;
  }

  async follow(served: Served): Promise<void> {
    const { compilation } = served;
    const { clock, onOutcome } = this.#options;
    if (this.#term !== served.term) this.#digests = null;
    this.#term = served.term;
    const synced = this.#synced(served);
    const notices = [...problemNotices(compilation), ...(synced?.notices ?? [])];
    this.#memory ??= new EventMemory(compilation.options[0].controllerName, clock.now());
    const { decisions, waiting, dropped } = this.#memory.decide(notices, clock.now());
    for (let i = 0; i < dropped; i++) onOutcome?.('dropped');
    // What is not told now has to differ the next time too.
    const untold = new Set([...waiting, ...decisions.map((it) => it.notice)].filter(isSynced));
    try {
      await this.#writeAll(decisions, served, (notice) => untold.delete(notice));
    } finally {
      if (synced) this.#digests = without(synced.digests, untold);
    }
  }

  /** `null` while a person has pinned the pointer: what was published is not served. */
  #synced({ compilation, version, result }: Served) {
    if (result.outcome !== 'published' && result.outcome !== 'unchanged') return null;
    const isNew = wasNeverSynced(compilation, this.#options.wallMs());
    return syncedNotices(compilation, version, this.#digests, isNew);
  }

  async #writeAll(
    decisions: readonly Decision[],
    { compilation, term }: Served,
    onTold: (notice: Notice) => void,
  ): Promise<void> {
    if (decisions.length === 0) return;
    const { client, log, onOutcome } = this.#options;
    this.#api ??= await discoverEventsApi(client, term.signal);
    this.#permission ??= new Permission(`create and patch on ${this.#api.resource}`, log);
    const refusedIn = new Set<string>();
    for (const decision of decisions) {
      const { namespace } = decision.notice.object;
      const outcome = refusedIn.has(namespace)
        ? 'refused'
        : await this.#write(decision, compilation, this.#api, this.#permission, term);
      if (outcome === 'refused') refusedIn.add(namespace);
      else onTold(decision.notice);
      onOutcome?.(outcome);
    }
  }

  async #write(
    decision: Decision,
    compilation: Compilation,
    api: EventsApi,
    permission: Permission,
    term: Term,
  ): Promise<EventOutcome> {
    const { clock, log } = this.#options;
    const { namespace } = decision.notice.object;
    let outcome: EventOutcome;
    try {
      outcome = await this.#send(decision, compilation, api, term);
      permission.granted(namespace);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status === 429 || error.status >= 500) throw error;
      if (error.status === 403 && !/being terminated/.test(error.message)) {
        permission.refused(namespace, error);
        return 'refused';
      }
      // 404 is a namespace that is gone; anything else would be refused again and again.
      const isOver = error.status === 403 || error.status === 404;
      if (!isOver) log.warn({ error: describeError(error) }, 'an Event was not taken');
      outcome = 'known';
    }
    this.#memory?.wasTold(decision, clock.now());
    return outcome;
  }

  async #send(
    decision: Decision,
    compilation: Compilation,
    api: EventsApi,
    term: Term,
  ): Promise<EventOutcome> {
    const event = await this.#eventOf(decision, compilation, term);
    if (event === null) return 'known';
    if (decision.kind === 'refresh') {
      try {
        await this.#call(api.repeat(event, decision.count), term);
        return 'repeated';
      } catch (error) {
        // Forgotten by the server: it is told as if for the first time.
        if (!(error instanceof ApiError && error.status === 404)) throw error;
      }
    }
    try {
      await this.#call(api.create(event), term);
      return 'created';
    } catch (error) {
      // Another replica, or this one before it was started anew, has said it.
      if (error instanceof ApiError && error.status === 409) return 'known';
      throw error;
    }
  }

  #call(request: ReturnType<EventsApi['create']>, term: Term): Promise<unknown> {
    const { client } = this.#options;
    return withRetries(this.#options, term.signal, () => {
      term.check();
      return client.write({ ...request, query: {}, signal: term.signal, silenceMs: SILENCE_MS });
    });
  }

  /** `null` when there is no such object, or it is not ours to speak about. */
  async #eventOf(
    { notice, name }: Decision,
    { state, options: [controller] }: Compilation,
    term: Term,
  ): Promise<NewEvent | null> {
    const { object, uid, type, reason, action, note } = notice;
    const kinds: Readonly<Record<string, { readonly apiVersions: readonly string[] }>> = RESOURCES;
    const apiVersion = kinds[object.kind]?.apiVersions[0];
    if (apiVersion === undefined) return null;
    let known = uid;
    if (known === '') {
      const found = await findObject(this.#options.client, object, term.signal);
      if (!found) return null;
      const decide = ingressClassDecider(state, controller);
      const { namespace } = object;
      if (object.kind === 'Ingress' && !decide({ ...found, namespace }).ours) return null;
      known = found.uid;
    }
    return {
      name,
      regarding: { ...object, apiVersion, uid: known },
      type,
      reason,
      action,
      note,
      reportingController: controllerText(controller.controllerName),
      reportingInstance: this.#options.instance.slice(0, INSTANCE_LENGTH_MAX),
      atMs: this.#options.wallMs(),
    };
  }
}

function isSynced({ reason }: Notice): boolean {
  return reason === 'Synced';
}

function without(digests: Digests, untold: ReadonlySet<Notice>): Digests {
  const uids = new Set([...untold].map((it) => it.uid));
  return new Map([...digests].filter(([uid]) => !uids.has(uid)));
}

const INSTANCE_LENGTH_MAX = 128;

/** A qualified name, as the server wants it: one slash, where a controller's name may have more. */
function controllerText(controllerName: string): string {
  const [domain = '', ...rest] = controllerName.split('/');
  return rest.length === 0 ? domain : `${domain}/${rest.join('.').slice(0, 63)}`;
}
