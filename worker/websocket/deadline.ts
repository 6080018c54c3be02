/** A time limit that can be put off. Must be cleared. */
export class Deadline {
  readonly #timeoutMs: number;
  readonly #passed = Promise.withResolvers<null>();
  #timer: ReturnType<typeof setTimeout>;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
    this.#timer = this.#start();
  }

  /** Resolves as the promise does, or with null once the time is up. */
  within<T>(promise: Promise<T>): Promise<T | null> {
    return Promise.race([promise, this.#passed.promise]);
  }

  /** Gives the whole time again. */
  extend(): void {
    this.clear();
    this.#timer = this.#start();
  }

  clear(): void {
    clearTimeout(this.#timer);
  }

  #start(): ReturnType<typeof setTimeout> {
    return setTimeout(() => this.#passed.resolve(null), this.#timeoutMs);
  }
}
