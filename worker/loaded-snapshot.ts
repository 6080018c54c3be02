import { hostnameCandidates } from '../snapshot/hostname.ts';
import { shardIndex } from '../snapshot/keys.ts';
import type { Hostname, Manifest, Sha256 } from '../snapshot/types.ts';
import { type HostTable, type RoutingTable, routingTable } from './routing-table.ts';
import type { SnapshotStore, VerifiedManifest } from './snapshot-store.ts';

/** A shard in this isolate's memory, made ready for matching. Shared between versions. */
interface LoadedShard {
  readonly hash: Sha256;
  readonly table: RoutingTable;
  readonly sizeBytes: number;
  lastUsed: number;
}

/** Of encoded shards; decoded they take a few times that, and an isolate has 128 MB in all. */
const SHARDS_SIZE_BYTES_MAX = 16 * 1024 * 1024;

/** One version, with those of its shards that were needed so far. A request keeps to one. */
export class LoadedSnapshot {
  readonly version: Sha256;
  readonly #manifest: Manifest;
  readonly #store: SnapshotStore;
  readonly #shards = new Map<Sha256, LoadedShard>();
  #sizeBytes = 0;
  #uses = 0;

  constructor({ version, manifest }: VerifiedManifest, store: SnapshotStore) {
    this.version = version;
    this.#manifest = manifest;
    this.#store = store;
  }

  /**
   * The host that serves requests for `host`; null when there is none. A promise only if a shard
   * has to be read, and that rejects when it cannot be.
   */
  find(host: Hostname): HostTable | null | Promise<HostTable | null> {
    const own = this.#shards.get(this.#hashFor(host));
    if (!own) return this.#load(host);
    const table = this.#lookUp(own, host);
    if (table) return table;
    const catchAll = this.#shards.get(this.#manifest.catchAllShard);
    return catchAll ? this.#lookUp(catchAll, host) : this.#load(host);
  }

  /** The hosts in memory; each version that follows has them ready before it is used. */
  loadedHosts(): readonly Hostname[] {
    return [...this.#shards.values()].flatMap((shard) => [...shard.table.keys()]);
  }

  /** Takes over what both versions have, and reads what else these hosts need. */
  async prepare(before: LoadedSnapshot, hosts: readonly Hostname[]): Promise<void> {
    const wanted = new Set(hosts.map((host) => this.#hashFor(host)));
    if (before.#shards.has(before.#manifest.catchAllShard))
      wanted.add(this.#manifest.catchAllShard);
    for (const hash of [...wanted]) {
      const known = before.#shards.get(hash);
      if (!known) continue;
      this.#keep(known);
      wanted.delete(hash);
    }
    await Promise.all([...wanted].map((hash) => this.#read(hash)));
  }

  async #load(host: Hostname): Promise<HostTable | null> {
    const own = this.#shards.get(this.#hashFor(host)) ?? (await this.#read(this.#hashFor(host)));
    const table = this.#lookUp(own, host);
    if (table) return table;
    const hash = this.#manifest.catchAllShard;
    return this.#lookUp(this.#shards.get(hash) ?? (await this.#read(hash)), host);
  }

  async #read(hash: Sha256): Promise<LoadedShard> {
    const { shard, sizeBytes } = await this.#store.shard(hash);
    const loaded = { hash, table: routingTable(shard), sizeBytes, lastUsed: 0 };
    this.#keep(loaded);
    return loaded;
  }

  #keep(shard: LoadedShard): void {
    if (!this.#shards.has(shard.hash)) this.#sizeBytes += shard.sizeBytes;
    this.#shards.set(shard.hash, shard);
    shard.lastUsed = ++this.#uses;
    while (this.#sizeBytes > SHARDS_SIZE_BYTES_MAX && this.#shards.size > 1) this.#evict();
  }

  #evict(): void {
    let oldest: LoadedShard | null = null;
    for (const shard of this.#shards.values()) {
      if (!oldest || shard.lastUsed < oldest.lastUsed) oldest = shard;
    }
    if (!oldest) return;
    this.#shards.delete(oldest.hash);
    this.#sizeBytes -= oldest.sizeBytes;
  }

  #lookUp(shard: LoadedShard, host: Hostname): HostTable | null {
    shard.lastUsed = ++this.#uses;
    for (const candidate of hostnameCandidates(host)) {
      const table = shard.table.get(candidate);
      if (table) return table;
    }
    return null;
  }

  #hashFor(host: Hostname): Sha256 {
    const { shards, catchAllShard } = this.#manifest;
    const index = shardIndex(host, shards.length);
    return (index === null ? undefined : shards[index]) ?? catchAllShard;
  }
}
