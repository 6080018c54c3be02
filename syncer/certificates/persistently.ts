import { CloudflareError } from '../cloudflare/error.ts';
import type { TlsApi } from './tls-api.ts';

const ATTEMPTS_MAX = 3;

/**
 * Runs work that looks first at what the attempt before came to, again when that was not answered.
 *
 * @throws what the last attempt threw
 */
export async function persistently<T>(
  tls: Pick<TlsApi, 'backOff'>,
  work: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const mayPass = error instanceof CloudflareError && error.isTransient;
      if (!mayPass || attempt >= ATTEMPTS_MAX) throw error;
      await tls.backOff(attempt);
    }
  }
}
