/** The two clocks of this machine, in milliseconds. */
export interface TwoClocks {
  /** Never goes back and is never set; may stand still while the machine is suspended. */
  readonly monotonicMs: () => number;
  /** The time of day; may be set. */
  readonly wallMs: () => number;
}

export const SYSTEM_CLOCKS: TwoClocks = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
};

/** One moment, by both clocks. */
export interface Moment {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/** What a call that comes too late gets instead of being sent. */
export class TermOver extends Error {
  override readonly name = 'TermOver';
}

/**
 * One time of leading: from the write that won the Lease until a renewal fails to come in time. It
 * ends once and for ever; whoever leads again has another term with a higher token.
 *
 * Whether it is over is worked out from the clocks each time it is asked, never from a timer: a
 * process that was stopped (SIGSTOP, a frozen cgroup) goes on in the middle of a function, long
 * before its timers. Linux's CLOCK_MONOTONIC, which is what `performance.now()` reads, goes on while
 * a process is stopped, but stands still while the machine is suspended or its virtual machine is
 * paused; the time of day is put right then. So a term believes whichever clock says that more time
 * has gone by. A time of day set forward ends a term early, which costs one more claim; set back it
 * changes nothing.
 */
export class Term {
  /** Fencing token: higher than that of every term before; `null` without an election. */
  readonly token: number | null;
  readonly #clocks: TwoClocks;
  readonly #lengthMs: number;
  readonly #over = new AbortController();
  #renewedAt: Moment;

  /**
   * @param lengthMs how long it lasts without a renewal; less than the Lease's duration
   * @param wonAt before the request that won the Lease was sent
   */
  constructor(token: number | null, lengthMs: number, wonAt: Moment, clocks: TwoClocks) {
    this.token = token;
    this.#lengthMs = lengthMs;
    this.#renewedAt = wonAt;
    this.#clocks = clocks;
  }

  /** Aborts when the term is over. The calls of a publication end with it. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** How long it still lasts without a renewal; 0 when it is over. */
  remainingMs(): number {
    if (this.#over.signal.aborted) return 0;
    const { monotonicMs, wallMs } = now(this.#clocks);
    const elapsedMs = Math.max(
      monotonicMs - this.#renewedAt.monotonicMs,
      wallMs - this.#renewedAt.wallMs,
    );
    if (elapsedMs < this.#lengthMs) return this.#lengthMs - elapsedMs;
    this.end(`the Lease was not renewed for ${Math.round(elapsedMs / 1000)} s`);
    return 0;
  }

  get isOver(): boolean {
    return this.remainingMs() === 0;
  }

  /** Why it is over; `null` while it is not. */
  get endedBecause(): string | null {
    return this.isOver ? (this.#over.signal.reason as TermOver).message : null;
  }

  /** @throws TermOver right before a write that must not be done any more */
  check(): void {
    if (this.isOver) throw this.#over.signal.reason;
  }

  /** @param sentAt before the request was sent: what came after it counts for nobody */
  renewed(sentAt: Moment): void {
    if (!this.isOver) this.#renewedAt = sentAt;
  }

  end(because: string): void {
    if (!this.#over.signal.aborted) this.#over.abort(new TermOver(because));
  }
}

export function now({ monotonicMs, wallMs }: TwoClocks): Moment {
  return { monotonicMs: monotonicMs(), wallMs: wallMs() };
}

/** The term of a syncer that runs without an election: it ends with the process. */
export function endlessTerm(): Term {
  return new Term(null, Number.POSITIVE_INFINITY, now(SYSTEM_CLOCKS), SYSTEM_CLOCKS);
}
