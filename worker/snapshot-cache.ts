import type { Hostname } from '../snapshot/types.ts';
import { LoadedSnapshot } from './loaded-snapshot.ts';
import type { HostTable } from './routing-table.ts';
import type { SnapshotStore, VerifiedManifest } from './snapshot-store.ts';

export interface HostLookup {
  readonly version: string;
  readonly host: HostTable | null;
}

/**
 * The isolate's one current snapshot. Warm, it answers without I/O; a newer version is read in the
 * background and takes over whole, once everything that is in use of the old one is there. What
 * cannot be read or verified never replaces what works.
 *
 * No promise is kept between requests: workerd forbids awaiting another request's I/O.
 */
export class SnapshotCache {
  readonly #store: SnapshotStore;
  readonly #refreshMs: number;
  #current: LoadedSnapshot | null = null;
  #previous: LoadedSnapshot | null = null;
  #lastReadMs = Number.NEGATIVE_INFINITY;
  #reads = 0;
  #appliedRead = 0;

  constructor(store: SnapshotStore, refreshMs: number) {
    this.#store = store;
    this.#refreshMs = refreshMs;
  }

  get version(): string | null {
    return this.#current?.version ?? null;
  }

  /** Whether it is time for a look at the pointer; the caller then runs {@link refresh}. */
  isDue(nowMs: number): boolean {
    if (!this.#current || nowMs - this.#lastReadMs < this.#refreshMs) return false;
    this.#lastReadMs = nowMs;
    return true;
  }

  /**
   * Finds a host in one version. A promise only when something has to be read; it rejects when
   * there is nothing to serve from.
   */
  find(host: Hostname, nowMs: number): HostLookup | Promise<HostLookup> {
    const snapshot = this.#current;
    if (!snapshot) return this.#findCold(host, nowMs);
    const found = snapshot.find(host);
    if (found instanceof Promise) return this.#findInShard(snapshot, host, found);
    return { version: snapshot.version, host: found };
  }

  /** Reads the pointer now; a newer version takes over. Throws when it cannot be read. */
  async refresh(): Promise<void> {
    const read = ++this.#reads;
    const next = await this.#store.current();
    // Nothing published is no reason to forget what was.
    if (next) await this.#replace(next, read);
  }

  /** The mirror is the way out for all that can be wrong with what D1 says, also for saying nothing. */
  async #findCold(host: Hostname, nowMs: number): Promise<HostLookup> {
    this.#lastReadMs = nowMs;
    try {
      const read = ++this.#reads;
      return await this.#findIn(await this.#store.current(), host, read);
    } catch (error) {
      console.warn(`not served by the pointer in D1, asking its mirror in KV: ${error}`);
      const read = ++this.#reads;
      return this.#findIn(await this.#store.mirror(), host, read);
    }
  }

  async #findIn(
    verified: VerifiedManifest | null,
    host: Hostname,
    read: number,
  ): Promise<HostLookup> {
    if (!verified) throw new Error('nothing was published yet');
    await this.#replace(verified, read);
    const snapshot = this.#current;
    if (!snapshot) throw new Error('nothing was published yet');
    return { version: snapshot.version, host: await snapshot.find(host) };
  }

  /** A shard that cannot be read: then the whole host is served by the version before. */
  async #findInShard(
    snapshot: LoadedSnapshot,
    host: Hostname,
    pending: Promise<HostTable | null>,
  ): Promise<HostLookup> {
    try {
      return { version: snapshot.version, host: await pending };
    } catch (error) {
      const previous = this.#previous;
      if (!previous) throw error;
      console.warn(`serving ${host} from version ${previous.version}: ${error}`);
      return { version: previous.version, host: await previous.find(host) };
    }
  }

  async #replace(verified: VerifiedManifest, read: number): Promise<void> {
    const before = this.#current;
    if (before?.version === verified.version) {
      this.#appliedRead = Math.max(this.#appliedRead, read);
      return;
    }
    const next = new LoadedSnapshot(verified, this.#store);
    if (before) await next.prepare(before, before.loadedHosts());
    // Reads may overtake each other; the one that was begun last is the newest truth.
    if (read < this.#appliedRead) return;
    this.#appliedRead = read;
    this.#previous = before;
    this.#current = next;
  }
}
