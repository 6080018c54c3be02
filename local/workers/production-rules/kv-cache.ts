/** What a location remembers of a namespace; misses are values like others. */
export class KvCache<Value> {
  readonly #now: () => number;
  readonly #kept = new Map<string, Kept<Value>>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * What a read gets: an older value while that may be served, else `fresh`, which is then kept.
   *
   * "If a given key has recently been read in a given location, writes to the key made in other
   * locations may take up to 60 seconds (or the duration of the `cacheTtl`) to display", and "the
   * effective `cacheTtl` of an already cached item can be reduced by getting it again with a lower
   * `cacheTtl`" (https://developers.cloudflare.com/kv/api/read-key-value-pairs/).
   */
  answer(key: string, fresh: Value, cacheTtlSeconds: number): Value {
    const nowMs = this.#now();
    const ttlMs = cacheTtlSeconds * 1000;
    const kept = this.#kept.get(key);
    if (kept && nowMs - kept.readAtMs < Math.min(kept.ttlMs, ttlMs)) return kept.value;
    this.#kept.delete(key);
    this.#kept.set(key, { value: fresh, readAtMs: nowMs, ttlMs });
    const [oldest] = this.#kept.keys();
    if (oldest !== undefined && this.#kept.size > KEPT_MAX) this.#kept.delete(oldest);
    return fresh;
  }
}

/** So that a long session does not fill the isolate. Production evicts as well. */
const KEPT_MAX = 1000;

interface Kept<Value> {
  readonly value: Value;
  readonly readAtMs: number;
  readonly ttlMs: number;
}
