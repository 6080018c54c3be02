import { compareText } from '../../snapshot/precedence.ts';
import type { Hostname, ObjectRef } from '../../snapshot/types.ts';
import type { Certificate } from '../compile/certificate.ts';
import type { CertificateRow } from './certificate-ledger.ts';
import type { RemoteCertificate } from './tls-answers.ts';
import type { WantedHost } from './wanted.ts';

/** A certificate that a zone is to have. */
export interface Wish {
  readonly certificate: Certificate;
  /** Every Secret that has one for the same names and type of key. */
  readonly secrets: readonly ObjectRef[];
  /** The hosts that are to be served with it, by name. */
  readonly hosts: readonly Hostname[];
}

/** What is to be done to the certificates of a zone. */
export interface ZonePlan {
  /** Rows that only say something else from now on: whose they are, or that they are (un)used. */
  readonly update: readonly CertificateRow[];
  readonly create: readonly Wish[];
  readonly replace: readonly { readonly row: CertificateRow; readonly wish: Wish }[];
  readonly remove: readonly CertificateRow[];
}

/**
 * How long a certificate stays that nothing asks for: a Secret that is deleted and made again, or an
 * Ingress that is wrong for a moment, must not take it away.
 */
export const UNUSED_MS = 10 * 60_000;
/** How far the clocks of this machine and Cloudflare's may be apart. */
const SKEW_MS = 5 * 60_000;

/**
 * One for all that have the same names and type of key: Cloudflare chooses by name, so it would never
 * serve a second one. The one that is valid for longest serves them all.
 */
export function wishesOf(hosts: readonly WantedHost[]): readonly Wish[] {
  const byNames = new Map<
    string,
    { certificate: Certificate; secrets: Map<string, ObjectRef>; hosts: Set<Hostname> }
  >();
  for (const { hostname, certificates } of hosts) {
    for (const certificate of certificates) {
      const key = namesKey(certificate);
      const entry = byNames.get(key) ?? { certificate, secrets: new Map(), hosts: new Set() };
      byNames.set(key, entry);
      entry.hosts.add(hostname);
      const { secret } = certificate;
      entry.secrets.set(`${secret.namespace}/${secret.name}`, secret);
      if (isBetter(certificate, entry.certificate)) entry.certificate = certificate;
    }
  }
  return [...byNames]
    .sort(([a], [b]) => compareText(a, b))
    .map(([, { certificate, secrets, hosts: names }]) => ({
      certificate,
      secrets: [...secrets.values()],
      hosts: [...names].sort(compareText),
    }));
}

/**
 * Compares what the zone has of ours with what it is to have:
 *
 * | a row with                             | and the wish  |                                       |
 * |----------------------------------------|---------------|---------------------------------------|
 * | the same certificate                   |               | stays                                 |
 * | the same names and type of key         | is another    | is replaced: a renewal                |
 * | the same Secret and type of key        | is another    | is replaced: other names in a renewal |
 * | nothing of any wish                    |               | goes, after {@link UNUSED_MS}         |
 * | no row                                 |               | is created                            |
 *
 * @param rows of this zone and `uploaded`
 * @param refused fingerprints that Cloudflare does not take: what is served stays
 */
export function planZone(
  rows: readonly CertificateRow[],
  wishes: readonly Wish[],
  refused: ReadonlySet<string>,
  nowMs: number,
): ZonePlan {
  const matched = match(rows, wishes);
  const update: CertificateRow[] = [];
  const create: Wish[] = [];
  const replace: { row: CertificateRow; wish: Wish }[] = [];
  for (const wish of wishes) {
    const row = matched.get(wish);
    const { secret, fingerprint } = wish.certificate;
    if (!row) {
      if (!refused.has(fingerprint)) create.push(wish);
      continue;
    }
    const isUploaded = row.fingerprint === fingerprint;
    if (!isUploaded && !refused.has(fingerprint)) {
      replace.push({ row, wish });
      continue;
    }
    const used: CertificateRow = {
      ...row,
      secretNamespace: secret.namespace,
      secretName: secret.name,
      unusedSinceMs: 0,
    };
    if (isChanged(row, used)) update.push(used);
  }
  const used = new Set(matched.values());
  const unused = rows.filter((row) => !used.has(row));
  const remove = unused.filter((row) => isDue(row, nowMs));
  for (const row of unused) {
    if (row.unusedSinceMs === 0) update.push({ ...row, unusedSinceMs: nowMs });
  }
  return { update, create, replace, remove };
}

function match(
  rows: readonly CertificateRow[],
  wishes: readonly Wish[],
): ReadonlyMap<Wish, CertificateRow> {
  const matched = new Map<Wish, CertificateRow>();
  const free = new Set(rows);
  const take = (fits: (row: CertificateRow, wish: Wish) => boolean) => {
    for (const wish of wishes) {
      if (matched.has(wish)) continue;
      const row = [...free].find((it) => fits(it, wish));
      if (!row) continue;
      matched.set(wish, row);
      free.delete(row);
    }
  };
  take((row, { certificate }) => row.fingerprint === certificate.fingerprint);
  take((row, { certificate }) => namesKey(row) === namesKey(certificate));
  take(
    (row, { certificate, secrets }) =>
      row.keyType === certificate.keyType &&
      secrets.some((it) => it.namespace === row.secretNamespace && it.name === row.secretName),
  );
  return matched;
}

/**
 * Which of a zone's certificates an upload of ours became whose answer was lost: one that has come
 * since, that nobody else is known to have made, and that is what was sent.
 *
 * @param isKnown whether an id belongs to another row
 */
export function uploadsOf(
  row: CertificateRow,
  remote: readonly RemoteCertificate[],
  isKnown: (id: string) => boolean,
): readonly RemoteCertificate[] {
  const names = namesText(row.names);
  return remote.filter(
    ({ id, hosts, expiresOnMs, uploadedOnMs }) =>
      !row.idsBefore.includes(id) &&
      !isKnown(id) &&
      namesText(hosts) === names &&
      // Told in seconds.
      Math.abs(expiresOnMs - row.notAfterMs) < 1_000 &&
      uploadedOnMs >= row.begunAtMs - SKEW_MS,
  );
}

function isDue({ unusedSinceMs }: CertificateRow, nowMs: number): boolean {
  return unusedSinceMs !== 0 && nowMs - unusedSinceMs >= UNUSED_MS;
}

function isChanged(a: CertificateRow, b: CertificateRow): boolean {
  return (
    a.secretNamespace !== b.secretNamespace ||
    a.secretName !== b.secretName ||
    a.unusedSinceMs !== b.unusedSinceMs
  );
}

/** Whether `a` is valid for longer; between equals the fingerprint decides, so that it is always the same. */
function isBetter(a: Certificate, b: Certificate): boolean {
  if (a.notAfterMs !== b.notAfterMs) return a.notAfterMs > b.notAfterMs;
  if (a.notBeforeMs !== b.notBeforeMs) return a.notBeforeMs > b.notBeforeMs;
  return a.fingerprint < b.fingerprint;
}

function namesKey({ keyType, names }: Pick<CertificateRow, 'keyType' | 'names'>): string {
  return `${keyType} ${namesText(names)}`;
}

/** Equal for lists of the same names. */
export function namesText(names: readonly string[]): string {
  return [...new Set(names)].sort().join();
}
