import type { Hostname, Sha256 } from './types.ts';
import { CATCH_ALL_HOST } from './types.ts';

/** Every KV key of ours begins with this, so that a namespace can be shared and listed. */
export const KV_PREFIX = 'causeway/1/';
export const SHARD_KEY_PREFIX = `${KV_PREFIX}shard/`;

/** Immutable: the value under it is the shard whose SHA-256 is in the key. */
export function shardKey(hash: Sha256): string {
  return `${SHARD_KEY_PREFIX}${hash}`;
}

/** The mirror of a cluster's pointer, read when D1 cannot be reached. */
export function pointerKey(cluster: string): string {
  return `${KV_PREFIX}pointer/${cluster}`;
}

/** Aimed at, not enforced: one host with many routes is never split. */
export const SHARD_SIZE_BYTES_TARGET = 64 * 1024;
/** Workers KV refuses larger values. */
export const KV_VALUE_SIZE_BYTES_MAX = 25 * 1024 * 1024;
export const SHARD_COUNT_MAX = 4096;

/**
 * Which shard holds a host. The first label is left out, so that `a.example.com` and
 * `*.example.com` lie in one shard; `null` is the shard of the catch-all host. FNV-1a (32 bit) with
 * the finaliser of MurmurHash3, since the low bits alone pick the shard.
 */
export function shardIndex(host: Hostname, shardCount: number): number | null {
  if (host === CATCH_ALL_HOST) return null;
  const dot = host.indexOf('.');
  let hash = 0x811c9dc5;
  for (let i = dot < 0 ? host.length : dot + 1; i < host.length; i++) {
    hash = Math.imul(hash ^ host.charCodeAt(i), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) & (shardCount - 1);
}
