import type { EncodedSnapshot } from '../snapshot/codec.ts';
import { pointerKey, SHARD_KEY_PREFIX } from '../snapshot/keys.ts';
import type { Endpoint, Problem, Sha256, Snapshot } from '../snapshot/types.ts';

/** What differs from the version before, for people (`publications.changes`, as JSON). */
export interface ChangeSummary {
  readonly hostsAdded: NamesSummary;
  readonly hostsRemoved: NamesSummary;
  readonly hostsChanged: NamesSummary;
  /** Endpoints that came or went, over all upstreams. */
  readonly endpointsChanged: number;
}

/** A list that may be long: how many, and the first of them. */
export interface NamesSummary {
  readonly count: number;
  readonly names: readonly string[];
}

export interface SnapshotCounts {
  readonly virtualHosts: number;
  readonly routes: number;
  readonly upstreams: number;
  readonly endpoints: number;
}

const NAMES_MAX = 50;
/** Edges may hold a version for a while after another took its place. */
export const KEEP_MS = 60 * 60_000;
export const KEEP_PUBLICATIONS = 20;
/** Below D1's 2 MB for one string, with room for the escapes of JSON. */
const CHUNK_LENGTH_MAX = 900_000;
const MESSAGE_LENGTH_MAX = 4_000;

export function countSnapshot({ virtualHosts, upstreams }: Snapshot): SnapshotCounts {
  return {
    virtualHosts: virtualHosts.length,
    routes: virtualHosts.reduce((sum, { routes }) => sum + routes.length, 0),
    upstreams: upstreams.length,
    endpoints: upstreams.reduce((sum, { endpoints }) => sum + endpoints.length, 0),
  };
}

/** The shards that are not among `known`. */
export function missingShards(
  { shards }: EncodedSnapshot,
  known: ReadonlySet<Sha256>,
): readonly (readonly [Sha256, Uint8Array])[] {
  return [...shards].filter(([hash]) => !known.has(hash));
}

/** `null` when there is nothing to compare with: the syncer has just started. */
export function summariseChanges(previous: Snapshot | null, next: Snapshot): ChangeSummary | null {
  if (!previous) return null;
  const before = new Map(previous.virtualHosts.map((host) => [host.hostname, host]));
  const after = new Map(next.virtualHosts.map((host) => [host.hostname, host]));
  const hosts = [...after.keys()];
  const changed = (host: string) =>
    before.has(host) && JSON.stringify(before.get(host)) !== JSON.stringify(after.get(host));
  return {
    hostsAdded: summariseNames(hosts.filter((host) => !before.has(host))),
    hostsRemoved: summariseNames([...before.keys()].filter((host) => !after.has(host))),
    hostsChanged: summariseNames(hosts.filter(changed)),
    endpointsChanged: countEndpointChanges(previous, next),
  };
}

/** The rows of the problems table as JSON lists, in pieces that D1 takes as one parameter each. */
export function problemChunks(problems: readonly Problem[]): readonly string[] {
  const chunks: string[] = [];
  let chunk: string[] = [];
  let length = 0;
  for (const [position, { object, reason, message }] of problems.entries()) {
    const texts = [object.kind, object.namespace, object.name, reason, shorten(message)];
    const row = JSON.stringify([position, ...texts.map((text) => text.toWellFormed())]);
    if (length + row.length > CHUNK_LENGTH_MAX) {
      chunks.push(`[${chunk.join()}]`);
      chunk = [];
      length = 0;
    }
    chunk.push(row);
    length += row.length + 1;
  }
  chunks.push(`[${chunk.join()}]`);
  return chunks;
}

/** A key of the namespace as a listing has it. */
export interface ListedKey {
  readonly name: string;
  readonly metadata: unknown;
}

/** With every shard: when it was last written, in milliseconds since the epoch. */
export interface ShardMetadata {
  readonly writtenAtMs: number;
}

/**
 * The keys of shards that nothing names and that were not written within {@link KEEP_MS}: a shard
 * is written before the publication that names it, so a young one may be about to be needed. A key
 * without our metadata is not ours to delete.
 */
export function orphans(
  keys: readonly ListedKey[],
  named: ReadonlySet<Sha256>,
  nowMs: number,
): readonly string[] {
  return keys
    .filter(({ name, metadata }) => {
      if (!name.startsWith(SHARD_KEY_PREFIX)) return false;
      const { writtenAtMs } = (metadata ?? {}) as Partial<ShardMetadata>;
      const isOld = typeof writtenAtMs === 'number' && writtenAtMs < nowMs - KEEP_MS;
      return isOld && !named.has(name.slice(SHARD_KEY_PREFIX.length));
    })
    .map(({ name }) => name);
}

/** Clusters that keep their pointer in this namespace and are not among `clusters`. */
export function foreignClusters(
  keys: readonly ListedKey[],
  clusters: readonly string[],
): readonly string[] {
  const ours = new Set(clusters.map(pointerKey));
  const prefix = pointerKey('');
  return keys
    .filter(({ name }) => name.startsWith(prefix) && !ours.has(name))
    .map(({ name }) => name.slice(prefix.length));
}

function summariseNames(names: readonly string[]): NamesSummary {
  return { count: names.length, names: names.slice(0, NAMES_MAX) };
}

function countEndpointChanges(previous: Snapshot, next: Snapshot): number {
  const before = endpointNames(previous);
  const after = endpointNames(next);
  const shared = [...before].filter((name) => after.has(name)).length;
  return before.size + after.size - 2 * shared;
}

function endpointNames({ upstreams }: Snapshot): Set<string> {
  const address = ({ host, port }: Endpoint) => `${host} ${port}`;
  return new Set(
    upstreams.flatMap(({ name, endpoints }) => endpoints.map((end) => `${name} ${address(end)}`)),
  );
}

function shorten(message: string): string {
  return message.length > MESSAGE_LENGTH_MAX ? `${message.slice(0, MESSAGE_LENGTH_MAX)}…` : message;
}
