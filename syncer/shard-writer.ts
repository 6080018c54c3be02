import { CorruptSnapshotError, decodeManifest, type EncodedSnapshot } from '../snapshot/codec.ts';
import { KV_VALUE_SIZE_BYTES_MAX, shardKey } from '../snapshot/keys.ts';
import type { Sha256 } from '../snapshot/types.ts';
import type { KvStore } from './cloudflare/kv-store.ts';
import type { LedgerState, PublishedManifest } from './ledger.ts';
import type { Logger } from './log.ts';
import { missingShards, type ShardMetadata } from './plan.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Writes the bodies of one snapshot to KV, and remembers which of them it wrote. */
export class ShardWriter {
  /** What this writer wrote itself. */
  readonly written = new Set<Sha256>();
  readonly #kv: Pick<KvStore, 'putAll'>;
  readonly #log: Logger;
  readonly #encoded: EncodedSnapshot;
  readonly #nowMs: number;

  /** @throws RangeError for a shard that KV does not take: a host is never split */
  constructor(kv: Pick<KvStore, 'putAll'>, log: Logger, encoded: EncodedSnapshot, nowMs: number) {
    assertSizes(encoded);
    this.#kv = kv;
    this.#log = log;
    this.#encoded = encoded;
    this.#nowMs = nowMs;
  }

  /** Writes what neither the version served nor the last publication has. */
  async writeMissing({ serving, newest }: LedgerState): Promise<void> {
    const known = [...(await this.#shardsOf(serving)), ...(await this.#shardsOf(newest))];
    await this.write(new Set(known));
  }

  /** Writes every shard that is not among `known`. */
  async write(known: ReadonlySet<Sha256>): Promise<void> {
    const missing = missingShards(this.#encoded, new Set([...known, ...this.written]));
    const metadata = { writtenAtMs: this.#nowMs } satisfies ShardMetadata;
    await this.#kv.putAll(
      missing.map(([hash, bytes]) => ({
        key: shardKey(hash),
        value: utf8.decode(bytes),
        metadata,
      })),
    );
    for (const [hash] of missing) this.written.add(hash);
  }

  /** Shards that are there because a publication names them; none for one that cannot be read. */
  async #shardsOf(publication: PublishedManifest | null): Promise<readonly Sha256[]> {
    if (!publication) return [];
    try {
      const manifest = await decodeManifest(publication.manifest, publication.version);
      return [manifest.catchAllShard, ...manifest.shards];
    } catch (error) {
      if (!(error instanceof CorruptSnapshotError)) throw error;
      this.#log.warn({ error: error.message }, 'a publication in D1 cannot be read');
      return [];
    }
  }
}

function assertSizes({ shards }: EncodedSnapshot): void {
  for (const [hash, { length }] of shards) {
    if (length <= KV_VALUE_SIZE_BYTES_MAX) continue;
    const text = `shard ${hash} has ${length} bytes, Workers KV takes ${KV_VALUE_SIZE_BYTES_MAX}`;
    throw new RangeError(`${text}: too many routes under one domain`);
  }
}
