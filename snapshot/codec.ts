import { SHARD_COUNT_MAX, SHARD_SIZE_BYTES_TARGET, shardIndex } from './keys.ts';
import { comparePathMatches, compareText } from './precedence.ts';
import type {
  ClientCertificatePolicy,
  Destination,
  Manifest,
  Sha256,
  Shard,
  Snapshot,
  Upstream,
  VirtualHost,
} from './types.ts';

/** A snapshot as it is published: the manifest, its version and each shard under its hash. */
export interface EncodedSnapshot {
  readonly version: Sha256;
  readonly manifest: string;
  readonly shards: ReadonlyMap<Sha256, Uint8Array>;
}

/** Thrown where bytes are not what their name or format promises; the caller keeps what it had. */
export class CorruptSnapshotError extends Error {
  override readonly name = 'CorruptSnapshotError';
}

const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export async function sha256(bytes: Uint8Array): Promise<Sha256> {
  const digest = new Uint8Array(
    await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>),
  );
  let hex = '';
  for (const byte of digest) hex += byte.toString(16).padStart(2, '0');
  return hex;
}

/** Splits and encodes. Equal snapshots give equal bytes, whatever the order of their parts was. */
export async function encodeSnapshot(snapshot: Snapshot): Promise<EncodedSnapshot> {
  const upstreams = new Map(snapshot.upstreams.map((upstream) => [upstream.name, upstream]));
  const parts = partition(snapshot.virtualHosts, upstreams);
  const shards = new Map<Sha256, Uint8Array>();
  const name = async (hosts: readonly VirtualHost[]): Promise<Sha256> => {
    const bytes = encodeShard(selfContained(hosts, upstreams));
    const hash = await sha256(bytes);
    shards.set(hash, bytes);
    return hash;
  };
  const manifest = encodeManifest({
    formatVersion: 1,
    catchAllShard: await name(parts.catchAll),
    shards: await Promise.all(parts.byIndex.map(name)),
  });
  return { version: await sha256(utf8.encode(manifest)), manifest, shards };
}

/** @throws CorruptSnapshotError when `manifest` is not the one that `version` names. */
export async function decodeManifest(manifest: string, version: Sha256): Promise<Manifest> {
  if ((await sha256(utf8.encode(manifest))) !== version) {
    throw new CorruptSnapshotError(`manifest does not have the hash ${version}`);
  }
  const value = parse(manifest);
  if (!isManifest(value)) {
    throw new CorruptSnapshotError(`manifest ${version} is not of format 1`);
  }
  return value;
}

/** @throws CorruptSnapshotError when `bytes` are not the shard that `hash` names. */
export async function decodeShard(bytes: Uint8Array, hash: Sha256): Promise<Shard> {
  if ((await sha256(bytes)) !== hash) {
    throw new CorruptSnapshotError(`shard does not have the hash ${hash}`);
  }
  let text: string;
  try {
    text = strictUtf8.decode(bytes);
  } catch {
    throw new CorruptSnapshotError(`shard ${hash} is not UTF-8`);
  }
  const shard = parse(text) as Shard;
  try {
    assertShard(shard);
  } catch (error) {
    if (error instanceof CorruptSnapshotError) throw error;
    // A TypeError: something is not there, or is something else.
    throw new CorruptSnapshotError(`shard ${hash} is not of format 1`, { cause: error });
  }
  return shard;
}

/** The canonical bytes of a shard: JSON with sorted lists and a fixed order of keys. */
export function encodeShard(shard: Shard): Uint8Array {
  assertShard(shard);
  return utf8.encode(
    JSON.stringify({
      virtualHosts: shard.virtualHosts.map(canonicalHost),
      upstreams: shard.upstreams.map(canonicalUpstream),
    }),
  );
}

const SHA256 = /^[0-9a-f]{64}$/;

function isManifest(value: unknown): value is Manifest {
  const { formatVersion, catchAllShard, shards } = (value ?? {}) as Partial<Manifest>;
  if (formatVersion !== 1 || !Array.isArray(shards)) return false;
  const isPowerOfTwo = shards.length > 0 && (shards.length & (shards.length - 1)) === 0;
  return isPowerOfTwo && [catchAllShard, ...shards].every((it) => SHA256.test(String(it)));
}

function encodeManifest({ formatVersion, catchAllShard, shards }: Manifest): string {
  return JSON.stringify({ formatVersion, catchAllShard, shards });
}

function partition(hosts: readonly VirtualHost[], upstreams: ReadonlyMap<string, Upstream>) {
  let bytes = 0;
  for (const host of hosts) {
    bytes += JSON.stringify(host).length;
    for (const name of upstreamNames([host]))
      bytes += JSON.stringify(upstreams.get(name) ?? null).length;
  }
  let count = 1;
  while (count * SHARD_SIZE_BYTES_TARGET < bytes && count < SHARD_COUNT_MAX) count *= 2;
  const catchAll: VirtualHost[] = [];
  const byIndex: VirtualHost[][] = Array.from({ length: count }, () => []);
  for (const host of hosts) {
    const index = shardIndex(host.hostname, count);
    (index === null ? catchAll : (byIndex[index] ?? catchAll)).push(host);
  }
  return { catchAll, byIndex };
}

function selfContained(
  hosts: readonly VirtualHost[],
  upstreams: ReadonlyMap<string, Upstream>,
): Shard {
  const named = [...upstreamNames(hosts)].sort(compareText).flatMap((name) => {
    const upstream = upstreams.get(name);
    return upstream ? [upstream] : [];
  });
  return {
    virtualHosts: hosts.toSorted((a, b) => compareText(a.hostname, b.hostname)),
    upstreams: named,
  };
}

function upstreamNames(hosts: readonly VirtualHost[]): Set<string> {
  const names = new Set<string>();
  for (const host of hosts) {
    for (const route of host.routes) names.add(route.upstream);
    if (host.defaultBackend) names.add(host.defaultBackend.upstream);
  }
  return names;
}

function canonicalHost(host: VirtualHost): unknown {
  const { hostname, owner, strictTransportSecurity, clientCertificates } = host;
  return {
    hostname,
    owner,
    ...(strictTransportSecurity !== undefined && { strictTransportSecurity }),
    ...(clientCertificates && { clientCertificates: canonicalPolicy(clientCertificates) }),
    routes: host.routes.map(({ match, ...destination }) => ({
      match: { type: match.type, path: match.path },
      ...canonicalDestination(destination),
    })),
    ...(host.defaultBackend && { defaultBackend: canonicalDestination(host.defaultBackend) }),
  };
}

function canonicalDestination({ upstream, source, httpsOnly }: Destination) {
  const { kind, namespace, name } = source;
  return { upstream, source: { kind, namespace, name }, ...(httpsOnly && { httpsOnly }) };
}

function canonicalPolicy(policy: ClientCertificatePolicy): unknown {
  const { verify, authorities, depthMax, commonName, passToUpstream } = policy;
  return {
    verify,
    authorities,
    depthMax,
    ...(commonName !== undefined && { commonName }),
    ...(passToUpstream && { passToUpstream }),
  };
}

function canonicalUpstream({ name, dialer, endpoints }: Upstream): unknown {
  return { name, dialer, endpoints: endpoints.map(({ host, port }) => ({ host, port })) };
}

/** Checked on both sides of the border: before a shard is written and after it was read. */
function assertShard(shard: Shard): void {
  if (!Array.isArray(shard?.virtualHosts) || !Array.isArray(shard.upstreams)) {
    throw new CorruptSnapshotError('shard has no lists of virtual hosts and upstreams');
  }
  assertAscending(shard.virtualHosts.map((host) => host.hostname));
  assertAscending(shard.upstreams.map((upstream) => upstream.name));
  const known = new Set(shard.upstreams.map((upstream) => upstream.name));
  for (const name of upstreamNames(shard.virtualHosts)) {
    if (!known.has(name)) throw new CorruptSnapshotError(`upstream ${name} is not in the shard`);
  }
  for (const { name, endpoints } of shard.upstreams) {
    if (!Array.isArray(endpoints)) {
      throw new CorruptSnapshotError(`upstream ${name} has no list of endpoints`);
    }
  }
  for (const { hostname, routes } of shard.virtualHosts) {
    for (const [index, route] of routes.entries()) {
      const next = routes[index + 1];
      if (next && comparePathMatches(route.match, next.match) >= 0) {
        throw new CorruptSnapshotError(`routes of ${hostname} are not in order of precedence`);
      }
    }
  }
}

function assertAscending(names: readonly string[]): void {
  for (const [index, name] of names.entries()) {
    const next = names[index + 1];
    if (next !== undefined && next <= name) {
      throw new CorruptSnapshotError(`${next} follows ${name}: not sorted or not unique`);
    }
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new CorruptSnapshotError('not JSON');
  }
}
