import type { Clock } from './clock.ts';
import type { Logger } from './log.ts';
import type { StateSource } from './source.ts';

export interface LoopOptions {
  readonly source: StateSource;
  /** Compiles and publishes. What it throws is logged, and it is run again after a while. */
  readonly run: () => Promise<void>;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly log: Logger;
  /** A run begins when nothing changed for this time, default {@link QUIET_MS}. */
  readonly quietMs?: number;
  /** But no later than this after the first change, default {@link CEILING_MS}. */
  readonly ceilingMs?: number;
  /** Without changes it runs this long after the run before, default {@link RESYNC_MS}. */
  readonly resyncMs?: number;
}

export const QUIET_MS = 250;
export const CEILING_MS = 1_000;
/** So that the end of a pin, or a pointer moved by hand, is seen in a quiet cluster too. */
export const RESYNC_MS = 60_000;
/** A source need not tell that it is synced when that changes nothing, as in an empty cluster. */
const SYNCED_POLL_MS = 250;
const BACKOFF_MS_MIN = 1_000;
const BACKOFF_MS_MAX = 60_000;

/**
 * Turns changes into runs. What can happen: a change (wait for quiet, up to the ceiling), the end
 * of a wait (run), the end of a run (wait for the next change, or back off if it failed), and the
 * end of it all. Only one of these happens at a time, and so does only one run.
 */
export class ReconcileLoop {
  readonly #options: LoopOptions;
  readonly #clock: Clock;
  readonly #stopped = new AbortController();
  /** When the first and the last change came that no run has seen, or `null` without any. */
  #dirty: { readonly firstMs: number; lastMs: number } | null = null;
  #failures = 0;
  /** Ends the present wait, so that its length is worked out anew. */
  #wake = new AbortController();
  #running: Promise<void> | null = null;
  #runStartedMs: number | null = null;

  constructor(options: LoopOptions) {
    this.#options = options;
    this.#clock = options.clock;
  }

  /** How many runs failed one after the other; 0 when all is well. */
  get failures(): number {
    return this.#failures;
  }

  /** How long the present run has been under way; 0 without one. */
  get runningForMs(): number {
    return this.#runStartedMs === null ? 0 : this.#clock.now() - this.#runStartedMs;
  }

  /** Starts the source and runs from then on. Resolves when the source has started. */
  async start(): Promise<void> {
    await this.#options.source.start(() => this.changed());
    this.changed();
    this.#running = this.#loop();
  }

  /** Something is not as it was. Never throws: it is called from where nobody would catch it. */
  changed(): void {
    const now = this.#clock.now();
    if (this.#dirty) this.#dirty.lastMs = now;
    else this.#dirty = { firstMs: now, lastMs: now };
    this.#wake.abort();
  }

  /** No run begins after this; resolves when the one under way has ended and the source stopped. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#wake.abort();
    await this.#running;
    await this.#options.source.stop();
  }

  async #loop(): Promise<void> {
    let earliestMs = Number.NEGATIVE_INFINITY;
    let resyncAtMs = Number.POSITIVE_INFINITY;
    while (!this.#stopped.signal.aborted) {
      const now = this.#clock.now();
      const dueMs = this.#dueAtMs(earliestMs, resyncAtMs);
      if (dueMs > now) {
        await this.#wait(dueMs - now);
        continue;
      }
      this.#dirty = null;
      await this.#run();
      const ended = this.#clock.now();
      earliestMs = this.#failures > 0 ? ended + this.#backOffMs() : Number.NEGATIVE_INFINITY;
      resyncAtMs = ended + (this.#options.resyncMs ?? RESYNC_MS);
    }
  }

  /** When the next run is due: not before the source has seen everything once (law 3). */
  #dueAtMs(earliestMs: number, resyncAtMs: number): number {
    if (!this.#options.source.synced) return this.#clock.now() + SYNCED_POLL_MS;
    if (this.#failures > 0) return earliestMs;
    if (!this.#dirty) return resyncAtMs;
    const { quietMs = QUIET_MS, ceilingMs = CEILING_MS } = this.#options;
    return Math.min(this.#dirty.lastMs + quietMs, this.#dirty.firstMs + ceilingMs);
  }

  async #wait(ms: number): Promise<void> {
    // Timers take 31 bits; what is further away is looked at again.
    await this.#clock.sleep(Math.min(ms, 2 ** 31 - 1), this.#wake.signal);
    this.#wake = new AbortController();
    if (this.#stopped.signal.aborted) this.#wake.abort();
  }

  async #run(): Promise<void> {
    this.#runStartedMs = this.#clock.now();
    try {
      await this.#options.run();
      this.#failures = 0;
    } catch (error) {
      this.#failures++;
      const { log } = this.#options;
      log.error(
        { error: String(error), failures: this.#failures },
        'publishing failed; trying later',
      );
    } finally {
      this.#runStartedMs = null;
    }
  }

  #backOffMs(): number {
    const ceiling = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** (this.#failures - 1));
    return ceiling * (0.5 + this.#options.random() / 2);
  }
}
