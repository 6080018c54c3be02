import type { Hostname } from '../snapshot/types.ts';
import type { Certificate } from './compile/certificate.ts';

/** A Secret for each series is much to store, and there may be thousands. */
export const SECRETS_MAX = 50;

export interface Expiry {
  /** `namespace/name` */
  readonly secret: string;
  /** Milliseconds since the epoch. */
  readonly notAfterMs: number;
}

/** Of the certificates that are served those that end soonest, {@link SECRETS_MAX} at most. */
export function soonestExpiries(
  certificates: ReadonlyMap<Hostname, readonly Certificate[]>,
): readonly Expiry[] {
  const bySecret = new Map<string, Expiry>();
  for (const { secret, notAfterMs } of [...certificates.values()].flat()) {
    const name = `${secret.namespace}/${secret.name}`;
    bySecret.set(name, { secret: name, notAfterMs });
  }
  return [...bySecret.values()].sort((a, b) => a.notAfterMs - b.notAfterMs).slice(0, SECRETS_MAX);
}
