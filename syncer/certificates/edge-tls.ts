import { CloudflareError } from '../cloudflare/error.ts';
import { describeError } from '../kubernetes/api-error.ts';
import { TermOver } from '../term.ts';
import { FencedOff } from './certificate-ledger.ts';
import { ClientAuthorities, type ZoneHosts } from './client-authorities.ts';
import { ManagedStore } from './coverage.ts';
import { CustomStore } from './custom-store.ts';
import { Part } from './part.ts';
import type { UploadOptions } from './upload-options.ts';
import type { Finding, WantedHost } from './wanted.ts';
import { type ZoneSettings, ZoneSettingsWriter } from './zone-settings.ts';
import { hasCustomCertificates, type Zone, ZoneList, zoneOf } from './zones.ts';

export interface CertificateSettings {
  /**
   * Whose certificates serve the hosts of `spec.tls`: `custom` those of their Secrets, uploaded;
   * `managed` those that Cloudflare issues; `auto` what the plan of each zone allows.
   */
  readonly mode: 'auto' | 'custom' | 'managed' | 'off';
  readonly zone: ZoneSettings;
}

export interface EdgeTlsOptions extends UploadOptions {
  readonly settings: CertificateSettings;
}

const SILENCE =
  'grant it, or set CAUSEWAY_CERTIFICATES=off to leave certificates alone; routing goes on without';
const NO_ZONE = `the API token sees no zone: certificates need its permission "Zone Read"; ${SILENCE}`;

/**
 * The TLS of Cloudflare, as far as it is ours, in one term of a leader: certificates, authorities of
 * clients, settings of zones. What fails is told, tried again with a later run, and holds up nothing
 * else.
 */
export class EdgeTls {
  readonly #options: EdgeTlsOptions;
  readonly #zones: ZoneList;
  readonly #custom: CustomStore;
  readonly #managed: ManagedStore;
  readonly #authorities: ClientAuthorities;
  readonly #settings: ZoneSettingsWriter;
  readonly #parts = new Map<string, Part>();
  /** What the log was told about missing permissions, which stay so until somebody comes. */
  readonly #told = new Set<string>();
  #known: readonly Zone[] | null = null;

  constructor(options: EdgeTlsOptions) {
    this.#options = options;
    const { settings, tls, nowMs } = options;
    this.#zones = new ZoneList(tls, nowMs);
    this.#custom = new CustomStore(options);
    this.#managed = new ManagedStore(tls, options);
    this.#authorities = new ClientAuthorities(options);
    this.#settings = new ZoneSettingsWriter(settings.zone, tls, options);
  }

  /**
   * Without any change it costs no call.
   *
   * @throws TermOver or FencedOff when we do not lead any more
   */
  async run(hosts: readonly WantedHost[]): Promise<readonly Finding[]> {
    const { mode, zone: wanted } = this.#options.settings;
    if (mode === 'off' && wanted.minTlsVersion === null && wanted.hsts === null) return [];
    const findings = [...(await this.#part('zones', hosts, () => this.#readZones(hosts)))];
    const zones = this.#known;
    if (zones === null) return findings;
    const grouped = await this.#grouped(zones, hosts);
    if (mode !== 'off') {
      for (const group of grouped) {
        const found = await this.#part(`zone ${group.zone.id}`, group.hosts, () =>
          this.#cover(group),
        );
        findings.push(...found);
      }
      const asking = hosts.filter(({ clientCertificates }) => clientCertificates !== null);
      findings.push(
        ...(await this.#part('authorities', asking, () => this.#authorities.cover(grouped))),
      );
    }
    for (const { zone, hosts: ofZone } of grouped) {
      if (!ofZone.some(({ isTls }) => isTls)) continue;
      await this.#part(`settings ${zone.id}`, [], async () => {
        await this.#settings.apply(zone);
        return [];
      });
    }
    return findings;
  }

  async #readZones(hosts: readonly WantedHost[]): Promise<readonly Finding[]> {
    const rows = await this.#options.ledger.rows();
    if (hosts.length === 0 && rows.length === 0) {
      this.#known = null;
      return [];
    }
    const { mode } = this.#options.settings;
    const zones = await this.#zones.read(hosts.map(({ hostname }) => hostname));
    this.#known = zones;
    if (mode === 'off') return [];
    if (zones.length === 0) this.#tellOnce(NO_ZONE);
    if (zones.length === 0 && mode === 'auto') return withoutClients(hosts, NO_ZONE);
    const text =
      'it is in no zone of the account that the API token may read; add its domain to Cloudflare, or give the token "Zone Read" for it';
    return hosts
      .filter(({ hostname }) => zoneOf(zones, hostname) === null)
      .map(({ hostname }) => ({ hostname, reason: 'CertificateNotCovered', text }));
  }

  /** Zones with hosts of ours, or with something that we put there. */
  async #grouped(
    zones: readonly Zone[],
    hosts: readonly WantedHost[],
  ): Promise<readonly ZoneHosts[]> {
    const byZone = Map.groupBy(hosts, ({ hostname }) => zoneOf(zones, hostname));
    const held = new Set((await this.#options.ledger.rows()).map((row) => row.zone));
    return zones
      .filter((zone) => byZone.has(zone) || held.has(zone.id))
      .map((zone) => ({ zone, hosts: byZone.get(zone) ?? [] }));
  }

  async #cover({ zone, hosts }: ZoneHosts): Promise<readonly Finding[]> {
    const overTls = hosts.filter(({ isTls }) => isTls);
    const { mode } = this.#options.settings;
    const isCustom = mode === 'auto' ? hasCustomCertificates(zone) : mode === 'custom';
    const found = await this.#custom.cover(zone, isCustom ? overTls : []);
    // The next best for those that have no certificate of their own there.
    const missing = new Set(found.map(({ hostname }) => hostname));
    const others = overTls.filter(
      ({ hostname, certificates }) =>
        !isCustom || certificates.length === 0 || missing.has(hostname),
    );
    return [...found, ...(await this.#managed.cover(zone, others))];
  }

  async #part(
    name: string,
    hosts: readonly WantedHost[],
    work: () => Promise<readonly Finding[]>,
  ): Promise<readonly Finding[]> {
    const part = this.#parts.get(name) ?? new Part();
    this.#parts.set(name, part);
    const { nowMs } = this.#options;
    if (!part.isDue(nowMs())) return part.findings;
    try {
      part.succeeded(await work());
    } catch (error) {
      if (error instanceof TermOver || error instanceof FencedOff) throw error;
      const isRefused = error instanceof CloudflareError && [401, 403].includes(error.status ?? 0);
      if (isRefused) part.failed(nowMs(), this.#refused(error, hosts));
      else {
        this.#options.log.warn(
          { part: name, error: describeError(error) },
          'TLS is not up to date',
        );
        part.failed(nowMs());
      }
    }
    return part.findings;
  }

  /** A token that was made for routing alone is no mistake, unless certificates were asked for. */
  #refused({ message }: CloudflareError, hosts: readonly WantedHost[]): readonly Finding[] {
    this.#tellOnce(`${message}; ${SILENCE}`);
    if (this.#options.settings.mode === 'auto') return withoutClients(hosts, message);
    return hosts.map(({ hostname }) => {
      return { hostname, reason: 'CertificateNotPublished', text: message };
    });
  }

  #tellOnce(message: string): void {
    if (!this.#told.has(message)) this.#options.log.warn({}, message);
    this.#told.add(message);
  }
}

/** Whoever asks for certificates of clients is told in any case: without authorities none is accepted. */
function withoutClients(hosts: readonly WantedHost[], cause: string): readonly Finding[] {
  const text = `the authorities of its client certificates were not uploaded, so no client gets in by its certificate: ${cause}`;
  return hosts
    .filter(({ clientCertificates }) => (clientCertificates?.authorities.length ?? 0) > 0)
    .map(({ hostname }) => ({ hostname, reason: 'CertificateNotPublished', text }));
}
