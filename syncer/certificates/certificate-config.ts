import type { CertificateSettings } from './edge-tls.ts';
import { parseMinTlsVersion, parseZoneHsts } from './zone-settings.ts';

const MODES = ['auto', 'custom', 'managed', 'off'] as const;

/**
 * What `causeway sync` is told about TLS at Cloudflare.
 *
 * @param attempt reads one setting, or takes what it is otherwise and notes what is wrong
 */
export function readCertificateSettings(
  attempt: <T>(name: string, otherwise: T, parse: (text: string) => T) => T,
): CertificateSettings {
  return {
    mode: attempt('CAUSEWAY_CERTIFICATES', 'auto', parseMode),
    zone: {
      minTlsVersion: attempt('CAUSEWAY_ZONE_MIN_TLS_VERSION', null, parseMinTlsVersion),
      hsts: attempt('CAUSEWAY_ZONE_HSTS', null, parseZoneHsts),
    },
  };
}

function parseMode(text: string): CertificateSettings['mode'] {
  const mode = MODES.find((it) => it === text);
  if (!mode) throw new Error(`"${text}" is none of ${MODES.join(', ')}`);
  return mode;
}
