import type { CertificateRow } from './certificate-ledger.ts';
import type { CertificateStore } from './certificate-store.ts';
import { namesText, planZone, type Wish, wishesOf, type ZonePlan } from './custom-plan.ts';
import { persistently } from './persistently.ts';
import { REFUSED_MS, type Refusal, uploadUnlessRefused } from './refusal.ts';
import type { RemoteCertificate } from './tls-answers.ts';
import { settle, uploadedRow } from './unfinished.ts';
import type { UploadOptions } from './upload-options.ts';
import type { Finding, WantedHost } from './wanted.ts';
import { hasCustomCertificates, type Zone } from './zones.ts';

/** How often it is looked whether all is still there. */
const VERIFY_MS = 60 * 60_000;

/**
 * Certificates of Secrets, uploaded as custom certificates of a zone.
 *
 * What is ours is known by rows in D1 alone. A row is written before its upload, and says after it
 * which id it became; a certificate without a row is somebody else's and never touched. After a
 * crash or a lost answer the upload is looked for by what was sent (see `unfinished.ts`).
 */
export class CustomStore implements CertificateStore {
  readonly #options: UploadOptions;
  /** By zone and fingerprint. */
  readonly #refused = new Map<string, { readonly refusal: Refusal; readonly untilMs: number }>();
  /** By zone and fingerprint: what was begun and not done. */
  readonly #troubled = new Set<string>();
  /** Set while there is no more room in the zone at hand. */
  #full: Refusal | null = null;
  /** When the certificates of a zone were listed last. */
  readonly #listedAtMs = new Map<string, number>();

  constructor(options: UploadOptions) {
    this.#options = options;
  }

  async cover(zone: Zone, hosts: readonly WantedHost[]): Promise<readonly Finding[]> {
    const wishes = wishesOf(hosts);
    if (wishes.length > 0 && !hasCustomCertificates(zone)) {
      await this.#reach(zone, []);
      return wishes.flatMap((wish) => planFindings(wish, zone));
    }
    await this.#reach(zone, wishes);
    return [...wishes.flatMap((wish) => this.#findings(wish, zone)), ...hosts.flatMap(withheld)];
  }

  #reach(zone: Zone, wishes: readonly Wish[]): Promise<void> {
    return persistently(this.#options.tls, () => this.#attempt(zone, wishes));
  }

  async #attempt(zone: Zone, wishes: readonly Wish[]): Promise<void> {
    const { ledger, tls } = this.#options;
    if (isDone(await this.#plan(zone, wishes)) && !(await this.#mustLook(zone))) return;
    const remote = await tls.customCertificates(zone);
    await settle(zone, await this.#rowsOf(zone), remote, this.#options);
    this.#listedAtMs.set(zone.id, this.#options.nowMs());
    const plan = await this.#plan(zone, wishes);
    if (plan.update.length > 0) await ledger.write(plan.update);
    this.#full = null;
    for (const { wish, run } of this.#steps(zone, plan, remote)) {
      const key = wish ? keyOf(zone, wish) : '';
      this.#troubled.add(key);
      await run();
      this.#troubled.delete(key);
    }
  }

  /**
   * One ends before the next begins, so that of all rows only one can wait for an answer. What failed
   * the last time comes last, so that it holds up none of the others.
   */
  #steps(
    zone: Zone,
    plan: ZonePlan,
    remote: readonly RemoteCertificate[],
  ): readonly { readonly wish: Wish | null; readonly run: () => Promise<void> }[] {
    const steps = [
      ...plan.replace.map(({ row, wish }) => {
        return { wish, run: () => this.#replace(zone, row, wish, remote) };
      }),
      ...plan.remove.map((row) => ({ wish: null, run: () => this.#remove(zone, row) })),
      ...plan.create.map((wish) => {
        return { wish, run: () => this.#createIfRoom(zone, wish, remote) };
      }),
    ];
    const isTroubled = ({ wish }: { readonly wish: Wish | null }) =>
      this.#troubled.has(wish ? keyOf(zone, wish) : '');
    return [...steps.filter((it) => !isTroubled(it)), ...steps.filter(isTroubled)];
  }

  async #plan(zone: Zone, wishes: readonly Wish[]): Promise<ZonePlan> {
    const nowMs = this.#options.nowMs();
    const rows = (await this.#rowsOf(zone)).filter(({ state }) => state === 'uploaded');
    const refused = new Set(
      wishes
        .filter((it) => nowMs < (this.#refused.get(keyOf(zone, it))?.untilMs ?? 0))
        .map(({ certificate }) => certificate.fingerprint),
    );
    return planZone(rows, wishes, refused, nowMs);
  }

  async #rowsOf(zone: Zone): Promise<readonly CertificateRow[]> {
    const rows = await this.#options.ledger.rows();
    return rows.filter((row) => row.kind === 'server' && row.zone === zone.id);
  }

  async #mustLook(zone: Zone): Promise<boolean> {
    const rows = await this.#rowsOf(zone);
    if (rows.some(({ state }) => state !== 'uploaded')) return true;
    const sinceMs = this.#options.nowMs() - (this.#listedAtMs.get(zone.id) ?? 0);
    return rows.length > 0 && (sinceMs >= VERIFY_MS || sinceMs < 0);
  }

  /** After one was refused for want of room, only those are offered that take none. */
  async #createIfRoom(zone: Zone, wish: Wish, remote: readonly RemoteCertificate[]): Promise<void> {
    const names = namesText(wish.certificate.names);
    const isOfPack = remote.some(({ hosts }) => namesText(hosts) === names);
    if (this.#full && !isOfPack) this.#refuse(zone, wish, this.#full);
    else await this.#create(zone, wish, remote);
  }

  async #create(zone: Zone, wish: Wish, remote: readonly RemoteCertificate[]): Promise<void> {
    const { ledger, tls, newId, nowMs } = this.#options;
    const row: CertificateRow = {
      ...rowOf(wish),
      id: newId(),
      kind: 'server',
      zone: zone.id,
      remoteId: '',
      state: 'creating',
      idsBefore: remote.map(({ id }) => id),
      begunAtMs: nowMs(),
      uploadedAtMs: 0,
      unusedSinceMs: 0,
    };
    await ledger.write([row]);
    const send = () => tls.createCustom(zone, wish.certificate);
    const created = await this.#send(zone, wish, send, () => ledger.remove([row]));
    if (created) await this.#done('uploaded a certificate', zone, row, created);
  }

  /** The certificate that is served goes on until the new one is there. */
  async #replace(
    zone: Zone,
    before: CertificateRow,
    wish: Wish,
    remote: readonly RemoteCertificate[],
  ): Promise<void> {
    const { ledger, tls, nowMs } = this.#options;
    const row: CertificateRow = {
      ...before,
      ...rowOf(wish),
      state: 'replacing',
      idsBefore: remote.map(({ id }) => id),
      begunAtMs: nowMs(),
      unusedSinceMs: 0,
    };
    await ledger.write([row]);
    const send = () => tls.replaceCustom(zone, before.remoteId, wish.certificate);
    const replaced = await this.#send(zone, wish, send, () => ledger.write([before]));
    if (replaced) await this.#done('renewed a certificate', zone, row, replaced);
  }

  /**
   * `null` when it was refused.
   *
   * @param undo makes the row what it was, for nothing was done
   */
  async #send(
    zone: Zone,
    wish: Wish,
    send: () => Promise<RemoteCertificate>,
    undo: () => Promise<void>,
  ): Promise<RemoteCertificate | null> {
    const refused = (refusal: Refusal) => this.#refuse(zone, wish, refusal);
    const remote = await uploadUnlessRefused(send, refused, undo);
    if (remote) this.#refused.delete(keyOf(zone, wish));
    return remote;
  }

  async #done(
    message: string,
    zone: Zone,
    row: CertificateRow,
    remote: RemoteCertificate,
  ): Promise<void> {
    const { ledger, nowMs } = this.#options;
    await ledger.write([uploadedRow(row, remote, nowMs())]);
    this.#tell(message, zone, row, remote.id);
  }

  async #remove(zone: Zone, row: CertificateRow): Promise<void> {
    const { ledger, tls } = this.#options;
    await ledger.write([{ ...row, state: 'deleting' }]);
    await tls.deleteCustom(zone, row.remoteId);
    await ledger.remove([row]);
    this.#tell('deleted a certificate that nothing uses', zone, row, row.remoteId);
  }

  #tell(message: string, zone: Zone, row: CertificateRow, remoteId: string): void {
    const { secretNamespace, secretName, keyType, names, fingerprint } = row;
    const secret = `${secretNamespace}/${secretName}`;
    const fields = { zone: zone.name, secret, keyType, names, fingerprint, remoteId };
    this.#options.log.info(fields, message);
  }

  #refuse(zone: Zone, wish: Wish, refusal: Refusal): void {
    const untilMs = this.#options.nowMs() + REFUSED_MS;
    this.#refused.set(keyOf(zone, wish), { refusal, untilMs });
    if (refusal.kind === 'quota') this.#full = refusal;
  }

  #findings(wish: Wish, zone: Zone): readonly Finding[] {
    const refused = this.#refused.get(keyOf(zone, wish));
    if (!refused) return [];
    const { reason, kind, answer } = refused.refusal;
    const text = `the certificate of ${secretText(wish)} was not uploaded to zone ${zone.name}: ${WAY_OUT[kind]} (Cloudflare: ${answer})`;
    return wish.hosts.map((hostname) => ({ hostname, reason, text }));
  }
}

const WAY_OUT: Record<Refusal['kind'], string> = {
  quota:
    'its plan has no room for another one; delete one that nobody needs, put the hosts of several Secrets into one certificate, or ask Cloudflare for more',
  plan: 'its plan does not allow it; custom certificates need a Business or Enterprise plan, and CAUSEWAY_CERTIFICATES=managed leaves certificates to Cloudflare',
  other: 'Cloudflare does not take it; renew or replace it',
};

function planFindings(wish: Wish, { name, plan }: Zone): readonly Finding[] {
  const text = `the certificate of ${secretText(wish)} was not uploaded: custom certificates need a Business or Enterprise plan, and zone ${name} has the plan ${plan}; CAUSEWAY_CERTIFICATES=auto leaves those of this zone to Cloudflare`;
  return wish.hosts.map((hostname) => ({ hostname, reason: 'PlanInsufficient', text }));
}

function withheld(host: WantedHost): readonly Finding[] {
  return host.withheld.map(({ certificate: { secret }, hostname, owner }) => {
    const text = `the certificate of Secret ${secret.namespace}/${secret.name} was not uploaded: it is for ${hostname} as well, which belongs to namespace ${owner} and which Cloudflare would serve with it; renew it without that name`;
    return { hostname: host.hostname, reason: 'CertificateNotPublished', text };
  });
}

function keyOf({ id }: Zone, { certificate }: Wish): string {
  return `${id} ${certificate.fingerprint}`;
}

function secretText({ certificate: { secret } }: Wish): string {
  return `Secret ${secret.namespace}/${secret.name}`;
}

function rowOf({ certificate }: Wish) {
  const { secret, keyType, fingerprint, names, notAfterMs } = certificate;
  return {
    secretNamespace: secret.namespace,
    secretName: secret.name,
    keyType,
    fingerprint,
    names: [...new Set(names)].sort(),
    notAfterMs,
  };
}

function isDone({ update, create, replace, remove }: ZonePlan): boolean {
  return update.length + create.length + replace.length + remove.length === 0;
}
