import {
  decodeManifest,
  decodeShard,
  type EncodedSnapshot,
  encodeSnapshot,
} from '../../snapshot/codec.ts';
import { hostnameCandidates, normaliseHost } from '../../snapshot/hostname.ts';
import { shardIndex } from '../../snapshot/keys.ts';
import type { Hostname, Manifest, Sha256, Snapshot } from '../../snapshot/types.ts';
import { parseRequestUrl } from '../../worker/request-url.ts';
import {
  type HostTable,
  type Match,
  matchPath,
  type RoutingTable,
  routingTable,
} from '../../worker/routing-table.ts';

/**
 * A snapshot as the edge has it: encoded, decoded and made into tables. Looks a host up in the two
 * shards in which `worker/loaded-snapshot.ts` looks, and nowhere else.
 */
export class Published {
  readonly encoded: EncodedSnapshot;
  readonly #manifest: Manifest;
  readonly #tables: ReadonlyMap<Sha256, RoutingTable>;

  static async of(snapshot: Snapshot): Promise<Published> {
    const encoded = await encodeSnapshot(snapshot);
    const manifest = await decodeManifest(encoded.manifest, encoded.version);
    const tables = new Map<Sha256, RoutingTable>();
    for (const [hash, bytes] of encoded.shards) {
      tables.set(hash, routingTable(await decodeShard(bytes, hash)));
    }
    return new Published(encoded, manifest, tables);
  }

  private constructor(
    encoded: EncodedSnapshot,
    manifest: Manifest,
    tables: ReadonlyMap<Sha256, RoutingTable>,
  ) {
    this.encoded = encoded;
    this.#manifest = manifest;
    this.#tables = tables;
  }

  get shardCount(): number {
    return this.#manifest.shards.length;
  }

  /** As the worker answers a request for this URL; null for what is no URL of a request. */
  match(url: string): Match | null {
    const parsed = parseRequestUrl(url);
    if (!parsed) return null;
    const host = this.#find(normaliseHost(parsed.authority));
    return host ? matchPath(host, parsed.path) : { kind: 'no-host' };
  }

  #find(host: Hostname): HostTable | null {
    const { shards, catchAllShard } = this.#manifest;
    const index = shardIndex(host, shards.length);
    const own = (index === null ? undefined : shards[index]) ?? catchAllShard;
    return this.#lookUp(own, host) ?? this.#lookUp(catchAllShard, host);
  }

  #lookUp(hash: Sha256, host: Hostname): HostTable | null {
    const table = this.#tables.get(hash);
    if (!table) throw new Error(`the manifest names shard ${hash}, which was not written`);
    for (const candidate of hostnameCandidates(host)) {
      const found = table.get(candidate);
      if (found) return found;
    }
    return null;
  }
}

/** `default/web/80 [10.0.0.11:30080]`, `404 NoRoute` or `503 NoEndpoints`. */
export function answerText(match: Match | null): string {
  if (match === null) return '400 BadRequest';
  if (match.kind !== 'route') return '404 NoRoute';
  const { name, dialer, endpoints } = match.target.upstream;
  if (endpoints.length === 0) return '503 NoEndpoints';
  const addresses = endpoints.map(({ host, port }) =>
    host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
  );
  return `${name} [${addresses.join(' ')}]${dialer === 'socket' ? '' : ` by ${dialer}`}`;
}
