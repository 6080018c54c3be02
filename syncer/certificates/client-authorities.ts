import { createHash, X509Certificate } from 'node:crypto';
import type { CertificateRow } from './certificate-ledger.ts';
import { UNUSED_MS } from './custom-plan.ts';
import { persistently } from './persistently.ts';
import { REFUSED_MS, uploadUnlessRefused } from './refusal.ts';
import type { UploadOptions } from './upload-options.ts';
import type { Finding, WantedHost } from './wanted.ts';
import type { Zone } from './zones.ts';

/** The hosts of a zone that ask their clients for certificates. */
export interface ZoneHosts {
  readonly zone: Zone;
  readonly hosts: readonly WantedHost[];
}

interface WantedAuthority {
  readonly pem: string;
  readonly fingerprint: string;
  readonly notAfterMs: number;
  /** By zone. */
  readonly hosts: Map<string, WantedHost[]>;
}

/**
 * The authorities of client certificates: uploaded to the account, and for each zone the hosts that
 * ask for certificates of each. Without them Cloudflare verifies nobody, and the worker takes no certificate.
 *
 * An authority carries the id of its row in its name, so that one whose upload was not answered is
 * found again, and no other is ever touched.
 */
export class ClientAuthorities {
  readonly #options: UploadOptions;
  /** By fingerprint. */
  readonly #refused = new Map<string, { readonly answer: string; readonly untilMs: number }>();

  constructor(options: UploadOptions) {
    this.#options = options;
  }

  /**
   * As `CertificateStore.cover`, for all zones at once.
   *
   * @param zones every zone that has hosts of ours, or had
   */
  async cover(zones: readonly ZoneHosts[]): Promise<readonly Finding[]> {
    const findings: Finding[] = [];
    const wanted = new Map<string, WantedAuthority>();
    for (const { zone, hosts } of zones) {
      for (const host of hosts) {
        const authorities = host.clientCertificates?.authorities ?? [];
        if (authorities.length === 0) continue;
        if (zone.plan !== '' && zone.plan !== 'enterprise') findings.push(planFinding(host, zone));
        else for (const pem of authorities) want(wanted, pem, host, zone);
      }
    }
    const covered = await persistently(this.#options.tls, async () => {
      await this.#settle();
      const found: Finding[] = [];
      for (const it of wanted.values()) found.push(...(await this.#cover(zones, it)));
      await this.#clear(zones, wanted);
      return found;
    });
    return [...findings, ...covered];
  }

  async #cover(
    zones: readonly ZoneHosts[],
    authority: WantedAuthority,
  ): Promise<readonly Finding[]> {
    const row = await this.#uploaded(authority);
    if (row) {
      for (const { zone } of zones) {
        const hosts = authority.hosts.get(zone.id) ?? [];
        await this.#associate(
          zone,
          row,
          hosts.map(({ hostname }) => hostname),
        );
      }
      return [];
    }
    const answer = this.#refused.get(authority.fingerprint)?.answer ?? '';
    const text = `the authority for its client certificates was not uploaded, so no client gets in by its certificate: ${answer}; an Enterprise plan has room for five authorities of an account and more on demand: delete those that nobody needs, or ask Cloudflare`;
    return [...authority.hosts.values()]
      .flat()
      .map(({ hostname }) => ({ hostname, reason: 'PlanInsufficient', text }));
  }

  /** The row of an authority that is at Cloudflare; `null` when it was refused. */
  async #uploaded({
    pem,
    fingerprint,
    notAfterMs,
  }: WantedAuthority): Promise<CertificateRow | null> {
    const { ledger, tls, nowMs, newId, log } = this.#options;
    const rows = (await ledger.rows()).filter(({ kind }) => kind === 'authority');
    const known = rows.find((it) => it.fingerprint === fingerprint && it.state === 'uploaded');
    if (known) {
      const used = { ...known, unusedSinceMs: 0 };
      if (known.unusedSinceMs !== 0) await ledger.write([used]);
      return used;
    }
    if (nowMs() < (this.#refused.get(fingerprint)?.untilMs ?? 0)) return null;
    const row: CertificateRow = {
      ...EMPTY_ROW,
      id: newId(),
      kind: 'authority',
      fingerprint,
      notAfterMs,
      state: 'creating',
      begunAtMs: nowMs(),
    };
    await ledger.write([row]);
    const created = await uploadUnlessRefused(
      () => tls.createAuthority(this.#nameOf(row), pem),
      ({ answer }) => this.#refused.set(fingerprint, { answer, untilMs: nowMs() + REFUSED_MS }),
      () => ledger.remove([row]),
    );
    if (!created) return null;
    this.#refused.delete(fingerprint);
    const { id: remoteId } = created;
    const done = finished(row, remoteId, nowMs());
    await ledger.write([done]);
    log.info({ fingerprint, remoteId }, 'uploaded an authority for client certificates');
    return done;
  }

  /** Makes these the hosts that we have there; those that somebody else added stay. */
  async #associate(
    zone: Zone,
    authority: CertificateRow,
    hostnames: readonly string[],
  ): Promise<void> {
    const { ledger, tls, nowMs, newId, log } = this.#options;
    const row = (await ledger.rows()).find((it) => isAssociation(it, zone.id, authority.remoteId));
    const names = [...hostnames].sort();
    const before = row?.names ?? [];
    if (row ? row.state === 'uploaded' && isSame(before, names) : names.length === 0) return;
    // Named before the call, so that none is taken for somebody else's after a crash.
    const begun: CertificateRow = {
      ...(row ?? { ...EMPTY_ROW, id: newId(), kind: 'association', zone: zone.id }),
      remoteId: authority.remoteId,
      fingerprint: authority.fingerprint,
      names: [...new Set([...before, ...names])].sort(),
      state: 'replacing',
      begunAtMs: nowMs(),
    };
    await ledger.write([begun]);
    const there = await tls.association(zone, authority.remoteId);
    const others = there.filter((it) => !begun.names.includes(it));
    const wanted = [...others, ...names].sort();
    if (!isSame([...there].sort(), wanted)) {
      await tls.replaceAssociation(zone, authority.remoteId, wanted);
      const fields = { zone: zone.name, authority: authority.remoteId, hosts: names };
      log.info(fields, 'changed which hosts ask for client certificates');
    }
    if (names.length === 0) await ledger.remove([begun]);
    else await ledger.write([{ ...finished(begun, authority.remoteId, nowMs()), names }]);
  }

  /** What no host asks for: its hosts at once, the authority itself after a while. */
  async #clear(
    zones: readonly ZoneHosts[],
    wanted: ReadonlyMap<string, WantedAuthority>,
  ): Promise<void> {
    const { ledger, tls, nowMs, log } = this.#options;
    for (const row of await ledger.rows()) {
      if (row.kind !== 'authority' || row.state !== 'uploaded' || wanted.has(row.fingerprint)) {
        continue;
      }
      for (const { zone } of zones) await this.#associate(zone, row, []);
      if (row.unusedSinceMs === 0) await ledger.write([{ ...row, unusedSinceMs: nowMs() }]);
      else if (nowMs() - row.unusedSinceMs >= UNUSED_MS) {
        await ledger.write([{ ...row, state: 'deleting' }]);
        await tls.deleteAuthority(row.remoteId);
        await ledger.remove([row]);
        const { remoteId, fingerprint } = row;
        log.info({ remoteId, fingerprint }, 'deleted an authority that nothing uses');
      }
    }
  }

  /** The end of what was begun and not seen to its end. */
  async #settle(): Promise<void> {
    const { ledger, tls, nowMs } = this.#options;
    const rows = (await ledger.rows()).filter(({ kind }) => kind === 'authority');
    const unfinished = rows.filter(({ state }) => state !== 'uploaded');
    if (unfinished.length === 0) return;
    const remote = await tls.authorities();
    for (const row of unfinished) {
      const found =
        row.state === 'creating'
          ? remote.find(({ name }) => name === this.#nameOf(row))
          : remote.find(({ id }) => id === row.remoteId);
      if (found) await ledger.write([finished(row, found.id, nowMs())]);
      else await ledger.remove([row]);
    }
  }

  #nameOf({ id }: CertificateRow): string {
    return `causeway ${this.#options.ledger.cluster} ${id}`;
  }
}

const EMPTY_ROW = {
  zone: '',
  secretNamespace: '',
  secretName: '',
  keyType: '',
  remoteId: '',
  names: [],
  notAfterMs: 0,
  fingerprint: '',
  idsBefore: [],
  begunAtMs: 0,
  uploadedAtMs: 0,
  unusedSinceMs: 0,
} as const;

function finished(row: CertificateRow, remoteId: string, uploadedAtMs: number): CertificateRow {
  return { ...row, state: 'uploaded', remoteId, uploadedAtMs };
}

function want(wanted: Map<string, WantedAuthority>, pem: string, host: WantedHost, zone: Zone) {
  const { raw, validToDate } = new X509Certificate(pem);
  const fingerprint = createHash('sha256').update(raw).digest('hex');
  const authority = wanted.get(fingerprint) ?? {
    pem,
    fingerprint,
    notAfterMs: validToDate.getTime(),
    hosts: new Map<string, WantedHost[]>(),
  };
  const hosts = authority.hosts.get(zone.id);
  if (hosts) hosts.push(host);
  else authority.hosts.set(zone.id, [host]);
  wanted.set(fingerprint, authority);
}

function planFinding({ hostname }: WantedHost, { name, plan }: Zone): Finding {
  const text = `zone ${name} has the plan ${plan}, and own authorities for client certificates need Enterprise, so no client gets in by its certificate; move the zone to Enterprise, or take auth-tls-secret off the Ingress`;
  return { hostname, reason: 'PlanInsufficient', text };
}

function isAssociation(row: CertificateRow, zone: string, authority: string): boolean {
  return row.kind === 'association' && row.zone === zone && row.remoteId === authority;
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((it, index) => it === b[index]);
}
