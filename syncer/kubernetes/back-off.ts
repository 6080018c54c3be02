/** Delays that double from the first to the last, each less a random part of up to a half. */
export class BackOff {
  readonly #firstMs: number;
  readonly #lastMs: number;
  readonly #random: () => number;
  #failures = 0;

  constructor(firstMs: number, lastMs: number, random: () => number) {
    this.#firstMs = firstMs;
    this.#lastMs = lastMs;
    this.#random = random;
  }

  get failures(): number {
    return this.#failures;
  }

  next(): number {
    const wholeMs = Math.min(this.#lastMs, this.#firstMs * 2 ** this.#failures);
    this.#failures += 1;
    return wholeMs * (1 - this.#random() / 2);
  }

  reset(): void {
    this.#failures = 0;
  }
}
