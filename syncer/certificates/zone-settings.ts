import { isDeepStrictEqual } from 'node:util';
import type { Logger } from '../log.ts';
import type { TlsApi } from './tls-api.ts';
import type { Zone } from './zones.ts';

/** What every zone with a TLS host of ours is to be like; `null` leaves it alone. */
export interface ZoneSettings {
  readonly minTlsVersion: '1.0' | '1.1' | '1.2' | '1.3' | null;
  readonly hsts: ZoneHsts | null;
}

/** RFC 6797 section 6.1. Browsers keep to it until it has run out: it cannot be taken back. */
export interface ZoneHsts {
  readonly maxAgeSeconds: number;
  readonly includeSubDomains: boolean;
  readonly preload: boolean;
}

/** People change settings by hand; ours are put back once in a while. */
const KEPT_MS = 60 * 60_000;

/** Writes settings of zones, where they differ. */
export class ZoneSettingsWriter {
  readonly #wanted: ZoneSettings;
  readonly #tls: Pick<TlsApi, 'setting' | 'changeSetting'>;
  readonly #nowMs: () => number;
  readonly #log: Logger;
  readonly #seenAtMs = new Map<string, number>();

  constructor(
    wanted: ZoneSettings,
    tls: Pick<TlsApi, 'setting' | 'changeSetting'>,
    { nowMs, log }: { readonly nowMs: () => number; readonly log: Logger },
  ) {
    this.#wanted = wanted;
    this.#tls = tls;
    this.#nowMs = nowMs;
    this.#log = log;
  }

  /** @throws CloudflareError */
  async apply(zone: Zone): Promise<void> {
    const { minTlsVersion, hsts } = this.#wanted;
    if (minTlsVersion === null && hsts === null) return;
    const ageMs = this.#nowMs() - (this.#seenAtMs.get(zone.id) ?? Number.NEGATIVE_INFINITY);
    if (ageMs >= 0 && ageMs < KEPT_MS) return;
    if (minTlsVersion !== null) {
      await this.#change(zone, 'min_tls_version', () => minTlsVersion);
    }
    if (hsts !== null) await this.#change(zone, 'security_header', (now) => withHsts(now, hsts));
    this.#seenAtMs.set(zone.id, this.#nowMs());
  }

  async #change(
    zone: Zone,
    id: string,
    valueFrom: (now: unknown) => object | string,
  ): Promise<void> {
    const before = await this.#tls.setting(zone, id);
    const value = valueFrom(before);
    if (isDeepStrictEqual(before, value)) return;
    await this.#tls.changeSetting(zone, id, value);
    this.#log.info({ zone: zone.name, setting: id, before, value }, 'changed a setting of a zone');
  }
}

/** The rest of the setting (nosniff) stays. */
function withHsts(now: unknown, hsts: ZoneHsts): object {
  const value = (now ?? {}) as { readonly strict_transport_security?: object };
  return {
    ...value,
    strict_transport_security: {
      ...value.strict_transport_security,
      enabled: true,
      max_age: hsts.maxAgeSeconds,
      include_subdomains: hsts.includeSubDomains,
      preload: hsts.preload,
    },
  };
}

const VERSIONS = ['1.0', '1.1', '1.2', '1.3'] as const;

/** @throws Error that says what is allowed */
export function parseMinTlsVersion(text: string): ZoneSettings['minTlsVersion'] {
  const version = VERSIONS.find((it) => it === text);
  if (!version) throw new Error(`"${text}" is none of ${VERSIONS.join(', ')}`);
  return version;
}

/**
 * The value of a `Strict-Transport-Security` header (RFC 6797 section 6.1), without directives that
 * Cloudflare has no setting for.
 *
 * @throws Error that says what is wrong
 */
export function parseZoneHsts(text: string): ZoneHsts {
  const directives = new Map<string, string>();
  for (const part of text.split(';')) {
    const [, name, value] = /^\s*([\w-]+)\s*(?:=\s*"?(\d+)"?\s*)?$/.exec(part) ?? [];
    if (name === undefined) throw new Error(`"${part.trim()}" is no directive`);
    const lower = name.toLowerCase();
    if (directives.has(lower)) throw new Error(`${name} is there twice`);
    directives.set(lower, value ?? '');
  }
  const maxAge = directives.get('max-age');
  if (!maxAge) throw new Error('max-age=SECONDS is missing, as in "max-age=31536000"');
  for (const [name, value] of directives) {
    const isKnown = name === 'max-age' || name === 'includesubdomains' || name === 'preload';
    if (!isKnown) throw new Error(`"${name}" is none of max-age, includeSubDomains, preload`);
    if (name !== 'max-age' && value !== '') throw new Error(`${name} takes no value`);
  }
  const maxAgeSeconds = Number(maxAge);
  if (!Number.isSafeInteger(maxAgeSeconds)) throw new Error(`max-age=${maxAge} is too large`);
  return {
    maxAgeSeconds,
    includeSubDomains: directives.has('includesubdomains'),
    preload: directives.has('preload'),
  };
}
