import { decodeManifest, decodeShard } from '../../../snapshot/codec.ts';
import { pointerKey, shardKey } from '../../../snapshot/keys.ts';
import { decodePointer, type PointerRecord } from '../../../snapshot/pointer.ts';
import { compareText } from '../../../snapshot/precedence.ts';
import type { Sha256, Snapshot } from '../../../snapshot/types.ts';
import type { LocalCloudflare } from './cloudflare.ts';

export interface Served {
  readonly version: Sha256;
  readonly snapshot: Snapshot;
}

/**
 * What an edge would serve by D1, read the way it reads it: pointer, publication, every shard.
 * Throws when anything that the pointer names is not there or is not what its name says (law 4).
 * `null` before the first publication.
 */
export async function servedByD1(cf: LocalCloudflare, cluster = 'test'): Promise<Served | null> {
  const [pointer] = await cf.rows<{ version: string }>(
    'SELECT version FROM pointers WHERE cluster = ?',
    cluster,
  );
  if (!pointer || pointer.version === '') return null;
  const [row] = await cf.rows<PointerRecord>(
    'SELECT version, manifest, signature FROM publications WHERE cluster = ? AND version = ? ' +
      'ORDER BY id DESC LIMIT 1',
    cluster,
    pointer.version,
  );
  if (!row) throw new Error(`no publication has the pointer's version ${pointer.version}`);
  return readAll(cf, row);
}

/** The same by the pointer's mirror in KV. */
export async function servedByKv(cf: LocalCloudflare, cluster = 'test'): Promise<Served | null> {
  const text = await cf.kv.get(pointerKey(cluster), 'text');
  if (text === null) return null;
  const pointer = decodePointer(text);
  if (!pointer) throw new Error(`the mirror is not a pointer: ${text}`);
  return readAll(cf, pointer);
}

async function readAll(
  cf: LocalCloudflare,
  { version, manifest }: Pick<PointerRecord, 'version' | 'manifest'>,
): Promise<Served> {
  const { catchAllShard, shards } = await decodeManifest(manifest, version);
  const parts = await Promise.all(
    [...new Set([catchAllShard, ...shards])].map(async (hash) => {
      const bytes = await cf.kv.get(shardKey(hash), 'arrayBuffer');
      if (bytes === null) throw new Error(`KV has no shard ${hash} of version ${version}`);
      return decodeShard(new Uint8Array(bytes), hash);
    }),
  );
  const snapshot = {
    virtualHosts: parts
      .flatMap((part) => part.virtualHosts)
      .sort((a, b) => compareText(a.hostname, b.hostname)),
    upstreams: parts.flatMap((part) => part.upstreams).sort((a, b) => compareText(a.name, b.name)),
  };
  return { version, snapshot };
}
