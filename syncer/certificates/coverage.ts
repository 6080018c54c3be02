import type { Hostname } from '../../snapshot/types.ts';
import { CloudflareError } from '../cloudflare/error.ts';
import { coversHost } from '../compile/certificate.ts';
import type { Logger } from '../log.ts';
import type { CertificateStore } from './certificate-store.ts';
import type { CertificatePack } from './tls-answers.ts';
import type { TlsApi } from './tls-api.ts';
import type { Finding, WantedHost } from './wanted.ts';
import { hasCustomCertificates, type Zone } from './zones.ts';

/** How long what a zone's certificates are for is believed while every host is covered. */
const KEPT_MS = 60 * 60_000;
/** And while one is not: somebody is at work on it. */
const KEPT_MS_UNCOVERED = 5 * 60_000;

interface Reading {
  readonly packs: readonly CertificatePack[];
  /** Custom domains of workers, which come with a certificate; `null` when not asked. */
  readonly domains: readonly Hostname[] | null;
  readonly readAtMs: number;
  /** The hosts that it was read for. */
  readonly hosts: ReadonlySet<Hostname>;
}

type Cover =
  | { readonly kind: 'active' }
  | { readonly kind: 'pending'; readonly status: string }
  | { readonly kind: 'none' };

/**
 * Certificates that Cloudflare manages: nothing is done, but each host is looked for among the names
 * of those that its zone has.
 */
export class ManagedStore implements CertificateStore {
  readonly #tls: Pick<TlsApi, 'packs' | 'customDomains'>;
  readonly #nowMs: () => number;
  readonly #log: Logger;
  readonly #readings = new Map<string, Reading>();
  #toldOfDomains = false;

  constructor(
    tls: Pick<TlsApi, 'packs' | 'customDomains'>,
    { nowMs, log }: { readonly nowMs: () => number; readonly log: Logger },
  ) {
    this.#tls = tls;
    this.#nowMs = nowMs;
    this.#log = log;
  }

  async cover(zone: Zone, hosts: readonly WantedHost[]): Promise<readonly Finding[]> {
    if (hosts.length === 0) return [];
    const names = hosts.map(({ hostname }) => hostname);
    const reading = await this.#read(zone, names);
    return hosts.flatMap(({ hostname, certificates }): readonly Finding[] => {
      const cover = coverOf(hostname, reading);
      if (cover.kind === 'active') return [];
      const text =
        cover.kind === 'pending'
          ? pendingText(zone, cover.status)
          : uncoveredText(zone, hostname, certificates.length > 0);
      return [{ hostname, reason: 'CertificateNotCovered', text }];
    });
  }

  async #read(zone: Zone, hosts: readonly Hostname[]): Promise<Reading> {
    const known = this.#readings.get(zone.id);
    if (known && this.#isFresh(known, hosts)) return known;
    const readAtMs = this.#nowMs();
    const packs = await this.#tls.packs(zone);
    const read = { packs, domains: null, readAtMs, hosts: new Set(hosts) };
    const isMissing = hosts.some((it) => coverOf(it, read).kind !== 'active');
    const reading = { ...read, domains: isMissing ? await this.#domains(zone) : null };
    this.#readings.set(zone.id, reading);
    return reading;
  }

  #isFresh(reading: Reading, hosts: readonly Hostname[]): boolean {
    const ageMs = this.#nowMs() - reading.readAtMs;
    const uncovered = hosts.filter((it) => coverOf(it, reading).kind !== 'active');
    if (uncovered.some((it) => !reading.hosts.has(it))) return false;
    return ageMs >= 0 && ageMs < (uncovered.length > 0 ? KEPT_MS_UNCOVERED : KEPT_MS);
  }

  /** Their certificates are packs too, so that the token need not be allowed to ask for them. */
  async #domains(zone: Zone): Promise<readonly Hostname[]> {
    try {
      return await this.#tls.customDomains(zone);
    } catch (error) {
      const isRefused = error instanceof CloudflareError && [401, 403].includes(error.status ?? 0);
      if (!isRefused) throw error;
      if (!this.#toldOfDomains) this.#log.info({ error: error.message }, DOMAINS_UNKNOWN);
      this.#toldOfDomains = true;
      return [];
    }
  }
}

const DOMAINS_UNKNOWN = 'custom domains of the worker are known by their certificates only';

function coverOf(
  hostname: Hostname,
  { packs, domains }: Pick<Reading, 'packs' | 'domains'>,
): Cover {
  if (domains?.includes(hostname)) return { kind: 'active' };
  const named = packs.filter(({ hosts }) => coversHost(hosts, hostname));
  if (named.some((pack) => isActive(pack, hostname))) return { kind: 'active' };
  const [waiting] = named.filter(({ status }) => /^(pending|initializing)/.test(status));
  return waiting ? { kind: 'pending', status: waiting.status } : { kind: 'none' };
}

/** A pack that is being renewed goes on with the certificate that it has. */
function isActive({ status, certificates }: CertificatePack, hostname: Hostname): boolean {
  if (status === 'active') return true;
  return certificates.some((it) => it.status === 'active' && coversHost(it.hosts, hostname));
}

function pendingText({ name }: Zone, status: string): string {
  return `its certificate at Cloudflare is not active yet (${status}); zone ${name} shows what it waits for under SSL/TLS, Edge Certificates`;
}

function uncoveredText(zone: Zone, hostname: Hostname, hasSecret: boolean): string {
  const depth = hostname.split('.').length - zone.name.split('.').length;
  const cause =
    depth > 1
      ? ` (Universal SSL is for ${zone.name} and *.${zone.name} only)`
      : ', also not Universal SSL, which may be turned off';
  return `no certificate of zone ${zone.name} is for it${cause}; order an advanced certificate (Advanced Certificate Manager), turn on Total TLS, make it a custom domain of the worker, or ${uploadText(zone, hasSecret)}`;
}

/** How the certificate of a Secret comes to serve it. */
function uploadText(zone: Zone, hasSecret: boolean): string {
  if (!hasCustomCertificates(zone)) {
    return 'use a Business plan, on which the certificate of its Secret is uploaded';
  }
  return hasSecret
    ? 'set CAUSEWAY_CERTIFICATES to auto or custom, so that the certificate of its Secret is uploaded'
    : 'name a Secret with a certificate for it';
}
