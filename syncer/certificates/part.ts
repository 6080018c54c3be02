import type { Finding } from './wanted.ts';

const BACKOFF_MS_MIN = 30_000;
const BACKOFF_MS_MAX = 5 * 60_000;

/** One piece of work that is done again with every run, and what it found the last time. */
export class Part {
  #findings: readonly Finding[] = [];
  #failures = 0;
  #dueMs = Number.NEGATIVE_INFINITY;

  /** The last that is known: a failure changes nothing about it. */
  get findings(): readonly Finding[] {
    return this.#findings;
  }

  /** Whether it may be tried: after a failure not at once. */
  isDue(nowMs: number): boolean {
    // A clock that was set back must not make it wait for longer than it ever would.
    return nowMs >= this.#dueMs || this.#dueMs - nowMs > BACKOFF_MS_MAX;
  }

  succeeded(findings: readonly Finding[]): void {
    this.#findings = findings;
    this.#failures = 0;
    this.#dueMs = Number.NEGATIVE_INFINITY;
  }

  /** @param findings what it says until the next try, if it is to say something */
  failed(nowMs: number, findings?: readonly Finding[]): void {
    this.#findings = findings ?? this.#findings;
    this.#dueMs = nowMs + Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** this.#failures);
    this.#failures++;
  }
}
