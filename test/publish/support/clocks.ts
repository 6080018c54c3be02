import type { Clock } from '../../../syncer/clock.ts';

/** A clock on which every sleep is over at once, and which says how long each was. */
export class LeapingClock implements Clock {
  readonly sleepsMs: number[] = [];
  #now = 0;

  now(): number {
    return this.#now;
  }

  async sleep(ms: number): Promise<void> {
    this.sleepsMs.push(ms);
    this.#now += ms;
  }
}

/** A clock that stands until it is moved. */
export class ManualClock implements Clock {
  #now = 0;
  #sleepers: { readonly untilMs: number; readonly wake: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#sleepers.push({ untilMs: this.#now + ms, wake: resolve });
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  /** Moves on, waking sleepers at their time and letting each do its work before the next. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#now + ms;
    await settle();
    for (;;) {
      this.#sleepers.sort((a, b) => a.untilMs - b.untilMs);
      const next = this.#sleepers[0];
      if (!next || next.untilMs > endMs) break;
      this.#sleepers.shift();
      this.#now = Math.max(this.#now, next.untilMs);
      next.wake();
      await settle();
    }
    this.#now = endMs;
  }
}

/** Lets everything that can go on without time go on. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}
