import type { Clock } from '../clock.ts';
import type { Decoded } from './decode.ts';
import type { ListWatch } from './list-watch.ts';

/** Makes the watch of one Secret, not yet started. */
type WatchMaker = (namespace: string, name: string) => ListWatch;

interface Context {
  readonly clock: Clock;
  /** For how long a new Secret may keep the source from being ready, see {@link SecretWatches}. */
  readonly patienceMs: number;
  readonly makeWatch: WatchMaker;
  readonly onChange: () => void;
}

/**
 * One watch for each Secret that an Ingress names in `spec.tls`, and none for the others: they never
 * enter memory, and RBAC may allow single names.
 *
 * A Secret named by a new Ingress is asked for first and compiled with then, so that the Ingress is
 * not published without its certificate for a moment. That wait has an end: Secrets that cannot be
 * read (a key server that is down) must not keep new endpoints from the edge.
 */
export class SecretWatches {
  readonly #context: Context;
  /** How many Ingresses name each. */
  readonly #references = new Map<string, number>();
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

  /** Whether each Secret was answered for, or has had its time. */
  get ready(): boolean {
    return this.#patienceIsOver || this.#allAnswered();
  }

  /** Before this a new Secret is waited for without end: nothing was published yet. */
  limitPatience(): void {
    this.#isPatient = false;
  }

  /** One Ingress was added, changed or deleted. Takes effect with {@link settle}. */
  refer(before: Decoded | undefined, after: Decoded | undefined): void {
    for (const key of secretKeys(after)) this.#count(key, 1);
    for (const key of secretKeys(before)) this.#count(key, -1);
  }

  /** Starts and stops watches after changed references, and takes note of new answers. */
  settle(): void {
    for (const key of this.#touched) {
      if (!this.#references.has(key)) this.#end(key);
      else if (!this.#watches.has(key)) this.#begin(key);
    }
    this.#touched.clear();
    this.#watchPatience();
  }

  async stop(): Promise<void> {
    this.#waiting?.abort();
    await Promise.all([...this.#watches.values()].map((watch) => watch.stop()));
    await Promise.all(this.#stopping);
  }

  #begin(key: string): void {
    const slash = key.indexOf('/');
    const watch = this.#context.makeWatch(key.slice(0, slash), key.slice(slash + 1));
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

  #count(key: string, difference: number): void {
    const count = (this.#references.get(key) ?? 0) + difference;
    if (count === 0) this.#references.delete(key);
    else this.#references.set(key, count);
    this.#touched.add(key);
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

/** Secrets are in the Ingress's own namespace. */
function secretKeys(entry: Decoded | undefined): Set<string> {
  const keys = new Set<string>();
  for (const object of entry?.ok ? entry.objects : []) {
    if (object.kind !== 'Ingress') continue;
    for (const { secretName } of object.tls) {
      if (secretName !== '') keys.add(`${object.namespace}/${secretName}`);
    }
  }
  return keys;
}
