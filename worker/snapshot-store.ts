import { and, desc, eq } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/d1';
import { decodeManifest, decodeShard } from '../snapshot/codec.ts';
import { pointerKey, shardKey } from '../snapshot/keys.ts';
import { decodePointer, type PointerRecord } from '../snapshot/pointer.ts';
import { importPublicKey, type SignatureKey, verifyVersion } from '../snapshot/signature.ts';
import { pointers, publications } from '../snapshot/tables.ts';
import type { Manifest, Sha256, Shard } from '../snapshot/types.ts';
import type { Env, Settings } from './env.ts';

/** A manifest whose hash and, where a key is configured, signature were checked. */
export interface VerifiedManifest {
  readonly version: Sha256;
  readonly manifest: Manifest;
}

/** D1 answers in milliseconds or something is wrong; then the mirror is the better source. */
const D1_TIMEOUT_MS = 2_000;
/** Immutable content under a unique name. */
const SHARD_CACHE_TTL_SECONDS = 365 * 24 * 60 * 60;
/** The least that Workers KV takes. */
const KV_CACHE_TTL_SECONDS_MIN = 30;

/** Reads published snapshots and believes nothing it has not checked. */
export class SnapshotStore {
  readonly #env: Env;
  readonly #settings: Settings;
  #publicKey: SignatureKey | null = null;

  constructor(env: Env, settings: Settings) {
    this.#env = env;
    this.#settings = settings;
  }

  /**
   * What D1 says is served now; null when nothing was published yet. Throws when D1 cannot be
   * reached, and CorruptSnapshotError or Error when what it says cannot be verified.
   */
  async current(): Promise<VerifiedManifest | null> {
    const record = await withTimeout(this.#pointerRow(), D1_TIMEOUT_MS, 'D1 did not answer');
    return record && this.#verify(record);
  }

  /** The same from the KV mirror, which may be a minute or more behind. */
  async mirror(): Promise<VerifiedManifest | null> {
    const key = pointerKey(this.#settings.cluster);
    const text = await this.#env.KV.get(key, { cacheTtl: KV_CACHE_TTL_SECONDS_MIN });
    const record = text === null ? null : decodePointer(text);
    return record && this.#verify(record);
  }

  /** Throws when KV cannot be reached, has no such shard (yet), or has another under its name. */
  async shard(hash: Sha256): Promise<{ readonly shard: Shard; readonly sizeBytes: number }> {
    const key = shardKey(hash);
    const read = (cacheTtl: number) => this.#env.KV.get(key, { type: 'arrayBuffer', cacheTtl });
    // A miss is cached for as long as a hit would be: ask again in a way that forgets soon.
    const buffer = (await read(SHARD_CACHE_TTL_SECONDS)) ?? (await read(KV_CACHE_TTL_SECONDS_MIN));
    if (buffer === null) throw new Error(`KV has no ${key}`);
    const bytes = new Uint8Array(buffer);
    return { shard: await decodeShard(bytes, hash), sizeBytes: bytes.byteLength };
  }

  async #pointerRow(): Promise<PointerRecord | null> {
    const { version, manifest, signature } = publications;
    const [row] = await drizzle(this.#env.DB)
      .select({ cluster: pointers.cluster, version, manifest, signature })
      .from(pointers)
      .innerJoin(
        publications,
        and(eq(publications.cluster, pointers.cluster), eq(version, pointers.version)),
      )
      .where(eq(pointers.cluster, this.#settings.cluster))
      // A version that was published again may have been signed by another key: the last row counts.
      .orderBy(desc(publications.id))
      .limit(1);
    return row ?? null;
  }

  async #verify({ version, manifest, signature }: PointerRecord): Promise<VerifiedManifest> {
    const { cluster, publicKey } = this.#settings;
    if (publicKey !== null) {
      this.#publicKey ??= await importPublicKey(publicKey);
      if (!(await verifyVersion(this.#publicKey, cluster, version, signature))) {
        throw new Error(`the signature of version ${version} of cluster ${cluster} is not valid`);
      }
    }
    return { version, manifest: await decodeManifest(manifest, version) };
  }
}

async function withTimeout<T>(promise: Promise<T>, ms: number, message: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${message} within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    if (timer !== null) clearTimeout(timer);
  }
}
