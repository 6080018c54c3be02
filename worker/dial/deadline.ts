/** A timer that can be set anew, and whose running out is a promise to race with. */
export class Deadline {
  /** Resolves once the time has run out. */
  readonly expired: Promise<void>;
  readonly #timeoutMs: number;
  #expire: () => void = () => {};
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isOver = false;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
    this.expired = new Promise((resolve) => {
      this.#expire = resolve;
    });
  }

  /** Gives the full time from now on. */
  start(): void {
    this.pause();
    if (!this.#isOver) this.#timer = setTimeout(this.#expire, this.#timeoutMs);
  }

  pause(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** What was waited for has come, or never will. */
  stop(): void {
    this.#isOver = true;
    this.pause();
  }
}
