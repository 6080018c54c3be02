import type { Clock } from '../clock.ts';
import type { Decoded } from './decode.ts';
import type { ListWatch } from './list-watch.ts';
import type { KubernetesObject } from './objects.ts';

/** An object that another one names. */
export interface Reference {
  readonly kind: 'Secret' | 'ConfigMap';
  readonly namespace: string;
  readonly name: string;
}

interface Context {
  readonly clock: Clock;
  /** For how long a new one may keep the source from being ready, see {@link ReferenceWatches}. */
  readonly patienceMs: number;
  readonly referencesOf: (object: KubernetesObject) => readonly Reference[];
  /** Makes the watch of one object, not yet started. */
  readonly makeWatch: (reference: Reference) => ListWatch;
  readonly onChange: () => void;
}

/**
 * One watch for each Secret that an Ingress names in `spec.tls` and each ConfigMap that an
 * IngressClass names, and none for the others: they never enter memory, and RBAC may allow single
 * names.
 *
 * A Secret named by a new Ingress is asked for first and compiled with then, so that the Ingress is
 * not published without its certificate for a moment. That wait has an end: Secrets that cannot be
 * read (a key server that is down) must not keep new endpoints from the edge.
 */
export class ReferenceWatches {
  readonly #context: Context;
  /** Each with how many objects name it. */
  readonly #references = new Map<string, { readonly reference: Reference; count: number }>();
  readonly #touched = new Set<string>();
  readonly #watches = new Map<string, ListWatch>();
  readonly #stopping = new Set<Promise<void>>();
  #isPatient = true;
  #waiting: AbortController | null = null;
  #patienceIsOver = false;

  constructor(context: Context) {
    this.#context = context;
  }

  get watches(): Iterable<ListWatch> {
    return this.#watches.values();
  }

  /** Whether each was answered for, or has had its time. */
  get ready(): boolean {
    return this.#patienceIsOver || this.#allAnswered();
  }

  /** Before this a new one is waited for without end: nothing was published yet. */
  limitPatience(): void {
    this.#isPatient = false;
  }

  /** One object was added, changed or deleted. Takes effect with {@link settle}. */
  refer(before: Decoded | undefined, after: Decoded | undefined): void {
    for (const [key, reference] of this.#referencesOf(after)) this.#count(key, reference, 1);
    for (const [key, reference] of this.#referencesOf(before)) this.#count(key, reference, -1);
  }

  /** Starts and stops watches after changed references, and takes note of new answers. */
  settle(): void {
    for (const key of this.#touched) {
      const named = this.#references.get(key);
      if (!named) this.#end(key);
      else if (!this.#watches.has(key)) this.#begin(key, named.reference);
    }
    this.#touched.clear();
    this.#watchPatience();
  }

  async stop(): Promise<void> {
    this.#waiting?.abort();
    await Promise.all([...this.#watches.values()].map((watch) => watch.stop()));
    await Promise.all(this.#stopping);
  }

  #begin(key: string, reference: Reference): void {
    const watch = this.#context.makeWatch(reference);
    this.#watches.set(key, watch);
    watch.start();
  }

  #end(key: string): void {
    const stopped = this.#watches.get(key)?.stop();
    this.#watches.delete(key);
    if (!stopped) return;
    this.#stopping.add(stopped);
    void stopped.finally(() => this.#stopping.delete(stopped));
  }

  #count(key: string, reference: Reference, difference: number): void {
    const count = (this.#references.get(key)?.count ?? 0) + difference;
    if (count === 0) this.#references.delete(key);
    else this.#references.set(key, { reference, count });
    this.#touched.add(key);
  }

  /** What one entry names, each once. */
  #referencesOf(entry: Decoded | undefined): ReadonlyMap<string, Reference> {
    const objects = entry?.ok ? entry.objects : [];
    const references = objects.flatMap((object) => this.#context.referencesOf(object));
    return new Map(references.map((it) => [`${it.kind} ${it.namespace}/${it.name}`, it]));
  }

  #allAnswered(): boolean {
    return [...this.#watches.values()].every((watch) => watch.answered);
  }

  #watchPatience(): void {
    if (this.#allAnswered()) {
      this.#waiting?.abort();
      this.#waiting = null;
      this.#patienceIsOver = false;
    } else if (!this.#isPatient && this.#waiting === null) {
      this.#waiting = new AbortController();
      void this.#wait(this.#waiting.signal);
    }
  }

  async #wait(signal: AbortSignal): Promise<void> {
    await this.#context.clock.sleep(this.#context.patienceMs, signal);
    if (signal.aborted) return;
    this.#patienceIsOver = true;
    this.#context.onChange();
  }
}
