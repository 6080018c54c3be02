import type { Hostname } from '../../snapshot/types.ts';
import type { TlsApi } from './tls-api.ts';

/** A domain at Cloudflare, with what of its plan decides about certificates. */
export interface Zone {
  readonly id: string;
  readonly name: string;
  /** `free`, `pro`, `business`, `enterprise`; empty when Cloudflare does not tell. */
  readonly plan: string;
  /** How many custom certificates its plan has room for; `null` when Cloudflare does not tell. */
  readonly customCertificatesMax: number | null;
}

/** New zones and plans are bought by people. */
const KEPT_MS = 60 * 60_000;
/** But whoever waits for one looks more often. */
const KEPT_MS_MISSING = 5 * 60_000;

/** The zone with the longest name that the host is in; a wildcard is in that of its parent. */
export function zoneOf(zones: readonly Zone[], hostname: Hostname): Zone | null {
  const name = hostname.replace(/^\*\./, '');
  let longest: Zone | null = null;
  for (const zone of zones) {
    const isIn = name === zone.name || name.endsWith(`.${zone.name}`);
    if (isIn && zone.name.length > (longest?.name.length ?? 0)) longest = zone;
  }
  return longest;
}

/** Whether the plan of a zone has custom certificates, or room for them was bought besides. */
export function hasCustomCertificates({ plan, customCertificatesMax }: Zone): boolean {
  return plan === 'business' || plan === 'enterprise' || (customCertificatesMax ?? 0) > 0;
}

/** The zones of the account, read again after a while. */
export class ZoneList {
  readonly #tls: Pick<TlsApi, 'zones'>;
  readonly #nowMs: () => number;
  #known: { readonly zones: readonly Zone[]; readonly readAtMs: number } | null = null;

  constructor(tls: Pick<TlsApi, 'zones'>, nowMs: () => number) {
    this.#tls = tls;
    this.#nowMs = nowMs;
  }

  /** @throws CloudflareError */
  async read(hostnames: readonly Hostname[]): Promise<readonly Zone[]> {
    const nowMs = this.#nowMs();
    const known = this.#known;
    if (known) {
      const isMissing = hostnames.some((it) => zoneOf(known.zones, it) === null);
      const ageMs = nowMs - known.readAtMs;
      if (ageMs >= 0 && ageMs < (isMissing ? KEPT_MS_MISSING : KEPT_MS)) return known.zones;
    }
    const zones = await this.#tls.zones();
    this.#known = { zones, readAtMs: nowMs };
    return zones;
  }
}
