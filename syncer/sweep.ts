import type { EncodedSnapshot } from '../snapshot/codec.ts';
import { KV_PREFIX, SHARD_KEY_PREFIX } from '../snapshot/keys.ts';
import type { KvStore } from './cloudflare/kv-store.ts';
import type { Ledger } from './ledger.ts';
import type { Logger } from './log.ts';
import { foreignClusters, type ListedKey, missingShards, orphans } from './plan.ts';
import type { ShardWriter } from './shard-writer.ts';

export interface SweepOptions {
  readonly kv: Pick<KvStore, 'list' | 'deleteAll'>;
  readonly ledger: Ledger;
  readonly log: Logger;
  readonly fencingToken: number;
  readonly nowMs: number;
  readonly encoded: EncodedSnapshot;
  readonly shards: ShardWriter;
}

/**
 * Tidies up: old publications in D1, shards in KV that no publication of any cluster names. And
 * finds shards of the current version that are gone, as after somebody emptied the namespace or
 * configured another one.
 *
 * KV is listed before D1 is asked what is named: a shard that some other cluster wrote again and
 * named in between is then seen as named.
 */
export async function sweep(options: SweepOptions): Promise<void> {
  const { kv, ledger, log, fencingToken, nowMs, encoded } = options;
  const keys: ListedKey[] = [];
  for await (const key of kv.list(KV_PREFIX)) keys.push(key);
  await repair(keys, options);
  const { pointer, named, clusters } = await ledger.prune(fencingToken, nowMs);
  if (pointer?.fencingToken !== fencingToken) return;
  const foreign = foreignClusters(keys, clusters);
  if (foreign.length > 0) {
    log.warn(
      { clusters: foreign },
      'nothing is deleted from the KV namespace: clusters of another D1 database use it too',
    );
    return;
  }
  const unnamed = orphans(keys, new Set([...named, ...encoded.shards.keys()]), nowMs);
  if (unnamed.length === 0) return;
  await kv.deleteAll(unnamed);
  log.info({ shards: unnamed.length }, 'deleted shards that no publication names');
}

/** A listing may not have what was written a moment ago; the writer knows that it is there. */
async function repair(keys: readonly ListedKey[], options: SweepOptions): Promise<void> {
  const { encoded, shards, log } = options;
  const listed = new Set(keys.map(({ name }) => name.slice(SHARD_KEY_PREFIX.length)));
  const gone = missingShards(encoded, new Set([...listed, ...shards.written]));
  if (gone.length === 0) return;
  log.warn({ shards: gone.length }, 'shards of the current version were gone from KV');
  await shards.write(listed);
}
