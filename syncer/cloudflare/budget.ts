import type { Clock } from '../clock.ts';

/**
 * Cloudflare allows 1,200 calls in five minutes to everything that shares one user's tokens, and
 * blocks every call for the rest of the window once there were more. A part is left to `wrangler`
 * and to people.
 */
export const CALLS_MAX = 1_100;
export const WINDOW_MS = 5 * 60_000;

/** For metrics; all but `callsInWindow` and `callsLeft` only grow. */
export interface CallCounts {
  readonly calls: number;
  readonly callsInWindow: number;
  /** How many more may start at once. */
  readonly callsLeft: number;
  /** How many calls were answered with which HTTP status; `none` for those without an answer. */
  readonly byStatus: Readonly<Record<string, number>>;
  readonly retries: number;
  readonly failures: number;
  /** How long calls were held back, by the budget or at Cloudflare's request. */
  readonly heldBackMs: number;
}

/** What {@link CallBudget} and {@link CallShare} are to whoever makes calls. */
export interface Budget {
  readonly counts: CallCounts;
  /**
   * Resolves when one more call may start, first come first served.
   *
   * @throws the signal's reason when it aborts before that
   */
  take(signal: AbortSignal): Promise<void>;
  /** No call starts within this time: Cloudflare said `retry-after`. */
  pause(ms: number): void;
  countAnswer(status: number | 'none'): void;
  countRetry(): void;
  countFailure(): void;
}

/**
 * A part of a budget for calls that have time, so that they never use up what those need that have
 * none. Each counts against the whole as well.
 */
export class CallShare implements Budget {
  readonly #whole: Budget;
  readonly #own: CallBudget;

  constructor(whole: Budget, clock: Clock, callsMax: number) {
    this.#whole = whole;
    this.#own = new CallBudget(clock, callsMax);
  }

  get counts(): CallCounts {
    return this.#whole.counts;
  }

  async take(signal: AbortSignal): Promise<void> {
    await this.#own.take(signal);
    await this.#whole.take(signal);
  }

  pause(ms: number): void {
    this.#whole.pause(ms);
  }

  countAnswer(status: number | 'none'): void {
    this.#whole.countAnswer(status);
  }

  countRetry(): void {
    this.#whole.countRetry();
  }

  countFailure(): void {
    this.#whole.countFailure();
  }
}

/** Holds calls back so that no window of five minutes has more of them than it may. */
export class CallBudget implements Budget {
  readonly #clock: Clock;
  readonly #callsMax: number;
  /** When the calls of the current window started, oldest first. */
  #starts: number[] = [];
  #pausedUntil = Number.NEGATIVE_INFINITY;
  #turn: Promise<void> = Promise.resolve();
  #calls = 0;
  #retries = 0;
  #failures = 0;
  readonly #byStatus: Record<string, number> = {};
  #heldBackMs = 0;

  constructor(clock: Clock, callsMax: number = CALLS_MAX) {
    this.#clock = clock;
    this.#callsMax = callsMax;
  }

  get counts(): CallCounts {
    this.#forget();
    return {
      calls: this.#calls,
      callsInWindow: this.#starts.length,
      callsLeft: this.#callsMax - this.#starts.length,
      byStatus: { ...this.#byStatus },
      retries: this.#retries,
      failures: this.#failures,
      heldBackMs: this.#heldBackMs,
    };
  }

  take(signal: AbortSignal): Promise<void> {
    const turn = this.#turn.then(() => this.#wait(signal));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  pause(ms: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#clock.now() + ms);
  }

  countAnswer(status: number | 'none'): void {
    this.#byStatus[status] = (this.#byStatus[status] ?? 0) + 1;
  }

  countRetry(): void {
    this.#retries++;
  }

  countFailure(): void {
    this.#failures++;
  }

  async #wait(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      this.#forget();
      const now = this.#clock.now();
      const oldest = this.#starts[0];
      const free = this.#starts.length < this.#callsMax || oldest === undefined;
      const until = Math.max(this.#pausedUntil, free ? now : oldest + WINDOW_MS);
      if (until <= now) {
        this.#starts.push(now);
        this.#calls++;
        return;
      }
      await this.#clock.sleep(until - now, signal);
      this.#heldBackMs += this.#clock.now() - now;
    }
  }

  #forget(): void {
    const since = this.#clock.now() - WINDOW_MS;
    const kept = this.#starts.findIndex((start) => start > since);
    if (kept !== 0) this.#starts = kept < 0 ? [] : this.#starts.slice(kept);
  }
}
