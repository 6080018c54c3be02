import { setTimeout as delay } from 'node:timers/promises';

export interface WaitOptions {
  /** Give up after this long. Default 30 000. */
  timeoutMs?: number;
  /** Pause between two probes. Default 50. */
  intervalMs?: number;
}

/**
 * Asks `probe` again and again until it returns something truthy, and returns that.
 *
 * A probe that throws counts as "not yet". After `timeoutMs` it throws an error that names `what` and
 * carries the probe's last error as its cause.
 */
export async function waitFor<T>(
  what: string,
  probe: () => Promise<T> | T,
  { timeoutMs = 30_000, intervalMs = 50 }: WaitOptions = {},
): Promise<Exclude<T, false | null | undefined>> {
  const deadline = performance.now() + timeoutMs;
  let lastError: unknown;
  for (;;) {
    try {
      const found = await probe();
      if (found) return found as Exclude<T, false | null | undefined>;
      lastError = undefined;
    } catch (error) {
      if (error instanceof GiveUp) throw error;
      lastError = error;
    }
    if (performance.now() > deadline) {
      const reason = lastError instanceof Error ? `: ${lastError.message}` : '';
      throw new Error(`waited ${timeoutMs} ms for ${what}${reason}`, { cause: lastError });
    }
    await delay(intervalMs);
  }
}

/** Thrown by a probe to end `waitFor` at once: what it waits for cannot happen any more. */
export class GiveUp extends Error {}
