/** Allows a burst, and after it so many in a time. */
export class TokenBucket {
  readonly #capacity: number;
  readonly #refillMs: number;
  #tokens: number;
  #atMs: number;

  /** @param refillMs time in which one token comes back */
  constructor(capacity: number, refillMs: number, nowMs: number) {
    this.#capacity = capacity;
    this.#refillMs = refillMs;
    this.#tokens = capacity;
    this.#atMs = nowMs;
  }

  has(nowMs: number): boolean {
    return this.#refill(nowMs) >= 1;
  }

  /** Takes one, which {@link has} has said is there. */
  take(nowMs: number): void {
    this.#tokens = this.#refill(nowMs) - 1;
  }

  isFull(nowMs: number): boolean {
    return this.#refill(nowMs) === this.#capacity;
  }

  #refill(nowMs: number): number {
    const gained = (nowMs - this.#atMs) / this.#refillMs;
    this.#tokens = Math.min(this.#capacity, this.#tokens + gained);
    this.#atMs = nowMs;
    return this.#tokens;
  }
}
