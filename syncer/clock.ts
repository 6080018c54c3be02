import { setTimeout } from 'node:timers/promises';

/** Time as an argument, so that tests need not wait. */
export interface Clock {
  /** Milliseconds, for differences only: it need not be the time of day. */
  now(): number;
  /** Resolves after that time, or at once when the signal aborts; never throws. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) => setTimeout(ms, undefined, { signal }).catch(() => {}),
};
