import type { Clock } from '../clock.ts';
import { ApiError } from './api-error.ts';
import { BackOff } from './back-off.ts';

export interface RetryContext {
  readonly clock: Clock;
  /** From 0 to less than 1. */
  readonly random: () => number;
}

const ATTEMPTS_MAX = 5;
const FIRST_MS = 250;
const LAST_MS = 8_000;

/**
 * Tries again what the server had no time for, and what got no answer. It must be a call that may be
 * done twice. Throws what the last attempt threw, and every refusal at once.
 */
export async function withRetries<T>(
  { clock, random }: RetryContext,
  signal: AbortSignal,
  attempt: () => Promise<T>,
): Promise<T> {
  const backOff = new BackOff(FIRST_MS, LAST_MS, random);
  while (true) {
    try {
      return await attempt();
    } catch (error) {
      if (signal.aborted || !isTransient(error) || backOff.failures + 1 >= ATTEMPTS_MAX)
        throw error;
      const retryAfterMs = error instanceof ApiError ? error.retryAfterMs : 0;
      await clock.sleep(Math.max(backOff.next(), retryAfterMs), signal);
    }
  }
}

function isTransient(error: unknown): boolean {
  if (error instanceof ApiError) return error.status === 429 || error.status >= 500;
  return error instanceof Error && 'code' in error;
}
