import type { Sha256 } from './types.ts';

/**
 * What an edge has to know to serve: the row of D1 that a pointer and its publication join to, and
 * also the value of the KV mirror, so that one read suffices either way.
 */
export interface PointerRecord {
  readonly cluster: string;
  readonly version: Sha256;
  readonly manifest: string;
  /** Ed25519, base64url; empty when unsigned. */
  readonly signature: string;
}

export function encodePointer({ cluster, version, manifest, signature }: PointerRecord): string {
  return JSON.stringify({ cluster, version, manifest, signature });
}

/** `null` when the text is not a pointer. Hash and signature are the reader's to check. */
export function decodePointer(text: string): PointerRecord | null {
  let value: Partial<Record<keyof PointerRecord, unknown>> | null;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const { cluster, version, manifest, signature } = value ?? {};
  if (typeof cluster !== 'string' || typeof version !== 'string') return null;
  if (typeof manifest !== 'string' || typeof signature !== 'string') return null;
  return { cluster, version, manifest, signature };
}
